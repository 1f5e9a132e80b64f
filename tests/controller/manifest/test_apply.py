"""Manifests applied to real nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controller.fleet.client import NO_RETRY, Client
from controller.fleet.target import Target
from controller.fleet.transport import OpenWhiskError
from controller.fleet.wire import ActionBody, RuleBody, TriggerBody
from controller.manifest.apply import NodeResult, apply_manifest, differences
from controller.manifest.desired import Desired
from controller.manifest.read import read_manifest
from edge_agent.model.entities import Exec
from tests.conftest import AgentFactory

CODE = "def main(args):\n    return {'said': args.get('word')}\n"
START = """
project:
  name: demo
  packages:
    demo:
      inputs: {word: hello}
      actions:
        say: {code: "def main(args): return {'said': args.get('word')}", runtime: python}
        other: {code: "def main(args): return args", runtime: python,
                limits: {memorySize: 128}}
      sequences:
        twice: {actions: "say, other"}
      triggers:
        go: {inputs: {word: fired}}
        tick: {feed: /whisk.system/alarms/interval, inputs: {minutes: 60}}
      rules:
        go-say: {trigger: go, action: say}
"""


@pytest.fixture
async def nodes(agent_factory: AgentFactory) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                Client(
                    Target(agent.url, agent.key, name=f"node{n}"),
                    retry=NO_RETRY,
                    timeout_s=15,
                )
            )
            for n, agent in enumerate([agent_factory(), agent_factory()])
        ]


async def manifest(tmp_path: Path, text: str) -> Desired:
    path = tmp_path / "manifest.yaml"
    path.write_text(text)
    return await asyncio.to_thread(read_manifest, path, {})


def did(result: NodeResult) -> list[str]:
    return [f"{change.op} {change.key}" for change in result.done]


async def test_two_nodes_get_the_same_and_a_second_run_changes_nothing(
    nodes: list[Client], tmp_path: Path
) -> None:
    wanted = [await manifest(tmp_path, START)]

    first = await apply_manifest(nodes, wanted)
    said = await asyncio.gather(*(node.invoke("demo/twice") for node in nodes))
    second = await apply_manifest(nodes, wanted)

    assert all(result.well for result in first), first
    assert did(first[0]) == did(first[1])
    assert len(did(first[0])) == 7
    assert [msgspec.json.decode(one.result) for one in said] == [
        {"said": "hello", "word": "hello"}
    ] * 2
    assert [result.planned for result in second] == [[], []]
    assert [await differences(node, wanted) for node in nodes] == [0, 0]


async def test_only_what_differs_is_written_and_what_is_dropped_is_removed(
    nodes: list[Client], tmp_path: Path
) -> None:
    node = nodes[0]
    await apply_manifest([node], [await manifest(tmp_path, START)])
    changed = START.replace("word: hello", "word: hi").replace(
        "        go-say: {trigger: go, action: say}\n", ""
    )
    changed = changed.replace("minutes: 60", "minutes: 30")
    changed = changed.replace(",\n                limits: {memorySize: 128}", "")

    checked = await apply_manifest(
        [node], [await manifest(tmp_path, changed)], check=True
    )
    (result,) = await apply_manifest([node], [await manifest(tmp_path, changed)])

    assert did(checked[0]) == []
    assert [str(c.key) for c in checked[0].planned] == [
        str(c.key) for c in result.planned
    ]
    assert did(result) == [
        "update package demo",
        "update action demo/other",
        "update trigger tick",
        "delete rule go-say",
    ]
    other = await node.get_action("demo/other", code=False)
    assert other.limits.memory == 256  # what is not said any more is the default
    assert await _minutes(node, "tick") == 30
    assert await node.list_rules() == []


async def _minutes(node: Client, trigger: str) -> Any:
    told = {"lifecycleEvent": "READ", "triggerName": f"/_/{trigger}"}
    told["authKey"] = node.target.key
    said = await node.invoke("/whisk.system/alarms/interval", msgspec.json.encode(told))
    return msgspec.json.decode(said.result)["config"]["minutes"]


async def test_what_was_changed_or_deleted_by_hand_is_put_back(
    nodes: list[Client], tmp_path: Path
) -> None:
    node = nodes[0]
    wanted = [await manifest(tmp_path, START)]
    await apply_manifest([node], wanted)
    code = Exec(kind="python:default", code="def main(args): return {}")
    await node.put_action("demo/say", ActionBody(exec=code))
    await node.put_action("mine", ActionBody(exec=code))
    await node.delete_rule("go-say")
    assert await differences(node, wanted) == 2

    (result,) = await apply_manifest([node], wanted)

    assert did(result) == ["update action demo/say", "create rule go-say"]
    assert "said" in str((await node.get_action("demo/say")).exec.code)
    assert await node.get_action("mine")  # nobody's but the user's


async def test_what_a_node_refuses_is_one_line_and_the_rest_goes_on(
    nodes: list[Client], tmp_path: Path
) -> None:
    text = START.replace(
        "        other:", "        cobol: {code: x, runtime: cobol}\n        other:"
    )
    text = text.replace(
        "        tick: {",
        "        tock: {feed: /whisk.system/no/feed}\n        tick: {",
    )
    text += "        tock-say: {trigger: tock, action: say}\n"
    text += "        go-cobol: {trigger: go, action: cobol}\n"

    (result,) = await apply_manifest([nodes[0]], [await manifest(tmp_path, text)])

    assert len(result.done) == 7
    cobol, tock, *left_out = result.problems
    assert cobol.startswith("action demo/cobol: ")
    assert "cobol" in cobol
    assert "\n" not in cobol
    assert tock.startswith("trigger tock: ")
    assert left_out == [
        "rule tock-say: left out, it needs trigger tock",
        "rule go-cobol: left out, it needs action demo/cobol",
    ]
    with pytest.raises(OpenWhiskError):  # without its feed there is no trigger
        await nodes[0].get_trigger("tock")


async def test_nothing_is_removed_after_a_failure(
    nodes: list[Client], tmp_path: Path
) -> None:
    node = nodes[0]
    await apply_manifest([node], [await manifest(tmp_path, START)])
    text = START.replace("runtime: python}", "runtime: cobol}", 1)
    text = text.replace("        go-say: {trigger: go, action: say}\n", "")

    (result,) = await apply_manifest([node], [await manifest(tmp_path, text)])

    assert not result.well
    assert await node.get_rule("go-say")


async def test_a_node_that_is_away_leaves_the_others_alone(
    nodes: list[Client], tmp_path: Path
) -> None:
    away = Client(
        Target("http://127.0.0.1:9", nodes[0].target.key, name="away"), retry=NO_RETRY
    )
    async with away:
        gone, here = await apply_manifest(
            [away, nodes[0]], [await manifest(tmp_path, START)]
        )

    assert "cannot connect" in gone.away
    assert here.well


async def test_a_trigger_changes_from_one_feed_to_another_and_to_none(
    nodes: list[Client], tmp_path: Path
) -> None:
    node = nodes[0]
    await apply_manifest([node], [await manifest(tmp_path, START)])
    cron = START.replace(
        "/whisk.system/alarms/interval, inputs: {minutes: 60}",
        "/whisk.system/alarms/alarm, inputs: {cron: '0 * * * *'}",
    )
    none = START.replace(
        "{feed: /whisk.system/alarms/interval, inputs: {minutes: 60}}", "{}"
    )

    (to_cron,) = await apply_manifest([node], [await manifest(tmp_path, cron)])
    feed = (await node.get_trigger("tick")).annotation("feed")
    (to_none,) = await apply_manifest([node], [await manifest(tmp_path, none)])
    (again,) = await apply_manifest([node], [await manifest(tmp_path, none)])

    assert did(to_cron) == did(to_none) == ["update trigger tick"]
    assert feed == "/whisk.system/alarms/alarm"
    assert (await node.get_trigger("tick")).annotation("feed") is None
    assert again.planned == []


async def test_a_rule_that_was_switched_off_stays_off(
    nodes: list[Client], tmp_path: Path
) -> None:
    node = nodes[0]
    wanted = [await manifest(tmp_path, START)]
    await apply_manifest([node], wanted)
    await node.set_rule("go-say", active=False)

    (result,) = await apply_manifest([node], wanted)

    assert result.planned == []
    assert (await node.get_rule("go-say")).status == "inactive"


async def test_what_another_project_owns_is_not_touched(
    nodes: list[Client], tmp_path: Path
) -> None:
    node = nodes[0]
    await apply_manifest([node], [await manifest(tmp_path, START)])
    theirs = START.replace("name: demo\n", "name: theirs\n", 1)

    (result,) = await apply_manifest([node], [await manifest(tmp_path, theirs)])

    assert not result.done
    assert "belongs to the project 'demo'" in result.problems[0]


async def test_what_was_made_by_hand_is_taken_over(
    nodes: list[Client], tmp_path: Path
) -> None:
    node = nodes[0]
    code = Exec(kind="python:default", code=CODE)
    await node.put_action("hand", ActionBody(exec=code))
    await node.put_trigger("go", TriggerBody())
    await node.put_rule("r", RuleBody(trigger="/_/go", action="/_/hand"))

    (result,) = await apply_manifest([node], [await manifest(tmp_path, START)])

    assert "update trigger go" in did(result)
    assert (await node.get_rule("r")).status == "active"
