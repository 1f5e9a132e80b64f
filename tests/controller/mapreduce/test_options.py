from __future__ import annotations

from typing import Any

import pytest

from controller.mapreduce.options import OptionError, overridden

CONFIG = {
    "points": 100,
    "rate": 0.5,
    "name": "pi",
    "fast": False,
    "sizes": [1, 2],
    "seed": None,
    "limits": {"memory": 128},
}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("points", "7", 7),
        ("points", "1e8", 100_000_000),
        ("points", "-3", -3),
        ("rate", "2", 2.0),
        ("name", "1e8", "1e8"),
        ("fast", "true", True),
        ("fast", "No", False),
        ("sizes", "[3]", [3]),
        ("seed", "12", 12),
        ("limits", '{"memory": 1}', {"memory": 1}),
        ("limits.memory", "256", {"memory": 256}),
    ],
)
def test_a_setting_is_typed_by_its_default(key: str, text: str, value: Any) -> None:
    (found,) = overridden(CONFIG, {key: text}).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("point", "1", "no setting 'point'; the job has: fast, limits"),
        ("limits.cpu", "1", "no setting 'limits.cpu'"),
        ("name.first", "x", "no setting 'name.first'"),
        ("points", "1.5", "'points' is a whole number, not '1.5'"),
        ("points", "many", "'points' is a number, not 'many'"),
        ("points", "inf", "'points' is a finite number, not 'inf'"),
        ("rate", "nan", "'rate' is a finite number, not 'nan'"),
        ("fast", "maybe", "'fast' is true or false, not 'maybe'"),
        ("sizes", "[1", "'sizes' is JSON, not '[1'"),
    ],
)
def test_a_wrong_setting_is_named(key: str, text: str, told: str) -> None:
    with pytest.raises(OptionError) as caught:
        overridden(CONFIG, {key: text})
    assert told in str(caught.value)


def test_only_what_changes_is_given_back() -> None:
    assert overridden(CONFIG, {"points": "5"}) == {"points": 5}


def test_two_changes_of_one_dict_add_up() -> None:
    config = {"limits": {"memory": 128, "timeout": 1}}
    given = {"limits.memory": "2", "limits.timeout": "3"}
    assert overridden(config, given) == {"limits": {"memory": 2, "timeout": 3}}
