"""Parameters: two words or one, JSON or text."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cli.errors import InputError
from controller.cli.pairs import join, parameters, parse


@pytest.mark.parametrize(
    ("typed", "joined"),
    [
        (["-p", "k", "v"], ["-p", "k=v"]),
        (["-p", "k=v", "x"], ["-p", "k=v", "x"]),
        (
            ["a", "--param", "k", "v", "-a", "x", "1"],
            ["a", "--param", "k=v", "-a", "x=1"],
        ),
        (["-p", "k", ""], ["-p", "k="]),
        (["-p", "k", "a=b"], ["-p", "k=a=b"]),
        (["-p", "k", "-1"], ["-p", "k=-1"]),
        (["-p", "k"], ["-p", "k"]),
        (["-p"], ["-p"]),
        (["--", "-p", "k", "v"], ["--", "-p", "k", "v"]),
        (["--points", "3"], ["--points", "3"]),
    ],
)
def test_two_words_become_one(typed: list[str], joined: list[str]) -> None:
    assert join(typed) == joined


def test_values_are_json_where_they_are_json() -> None:
    typed = ['a={"x": 1}', "b=1.5", "c=true", "d=word", 'e="1"', "f=", "g={broken"]
    assert parse(typed) == {
        "a": {"x": 1},
        "b": 1.5,
        "c": True,
        "d": "word",
        "e": "1",
        "f": "",
        "g": "{broken",
    }


def test_pairs_overlay_the_file(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"a": 1, "b": 2}')
    assert parameters(file, ["b=3"]) == {"a": 1, "b": 3}


@pytest.mark.parametrize("content", ["[1]", "{", "null", ""])
def test_a_file_that_is_no_object_is_an_error(tmp_path: Path, content: str) -> None:
    file = tmp_path / "p.json"
    file.write_text(content)
    with pytest.raises(InputError, match="not a JSON object"):
        parameters(file, [])


@pytest.mark.parametrize("pair", ["k", "=v"])
def test_a_pair_of_one_is_an_error(pair: str) -> None:
    with pytest.raises(InputError, match="a key and a value"):
        parse([pair])
