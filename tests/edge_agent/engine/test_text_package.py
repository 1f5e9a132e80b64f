"""The catalogue package: what its actions answer, errors included."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.engine.text_package import text_package
from edge_agent.model.errors import BuiltinError
from edge_agent.model.jobs import Identity

GUEST = Identity(subject="guest", namespace="guest", uuid="u", key="k")
ACTIONS = {builtin.name.name: builtin for builtin in text_package()}


async def run(name: str, given: Any) -> Any:
    return await ACTIONS[name].call(GUEST, given)


@pytest.mark.parametrize("name", sorted(ACTIONS.keys() - {"date"}))
async def test_every_action_answers_its_sample(name: str) -> None:
    annotations = ACTIONS[name].annotations

    answer = await run(name, annotations["sampleInput"])

    assert answer == annotations["sampleOutput"]


@pytest.mark.parametrize(
    ("name", "given", "answer"),
    [
        ("echo", [1, "b"], [1, "b"]),
        ("cat", {}, {"lines": [], "payload": ""}),
        ("cat", {"lines": ["a", None, True, 1.0, [1, 2]]}, "a\n\ntrue\n1\n1,2"),
        ("head", {"lines": ["a", "b"]}, {"lines": ["a"], "num": 1}),
        ("head", {"lines": ["a", "b"], "num": "2"}, {"lines": ["a", "b"], "num": 2}),
        (
            "sort",
            {"lines": [10, 9, "b", "a"]},
            {"lines": [10, 9, "a", "b"], "length": 4},
        ),
        ("split", {"payload": "a\r\nb\nc"}, {"lines": ["a", "b", "c"]}),
        ("split", {"payload": 121, "separator": 2}, {"lines": ["1", "1"]}),
    ],
)
async def test_the_actions_have_javascripts_notions_of_text(
    name: str, given: Any, answer: Any
) -> None:
    found = await run(name, given)
    if isinstance(answer, str):
        found = found["payload"]
    if name == "split":
        found = {"lines": found["lines"]}

    assert found == answer


async def test_date_is_the_time_in_utc() -> None:
    date = (await run("date", {}))["date"]

    assert date.endswith("Z")
    assert len(date) == len("2016-03-22T00:59:55.961Z")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("cat", {"lines": 5}),
        ("head", {"lines": [], "num": "x"}),
        ("head", {"lines": [], "num": [2]}),
        ("split", {}),
        ("sort", [1]),
    ],
)
async def test_what_cannot_be_is_refused_with_a_reason(name: str, given: Any) -> None:
    with pytest.raises(BuiltinError):
        await run(name, given)
