"""What two steps of a sequence cost, against one warm invocation of their action."""

from __future__ import annotations

from controller.bench.actions import ECHO, data_body
from controller.bench.invoking import BLOCKING, KILOBYTE, SIZE_ROUNDS, by_turns
from controller.bench.row import Row, median_ratio, rounded
from controller.bench.server import Agent, Cores, agent, on_cores


def sequences(cores: Cores) -> list[Row]:
    """On both cores, as a node runs."""
    with on_cores(cores.all), agent(cores=cores.all) as node:
        node.put("echo", ECHO)
        components = ["/_/echo", "/_/echo"]
        body = {"exec": {"kind": "sequence", "components": components}}
        node.call("PUT", "/actions/twice?overwrite=true", body)
        return [_row(node, kilobytes) for kilobytes in (1, 900)]


def _row(node: Agent, kilobytes: int) -> Row:
    body = data_body(kilobytes * KILOBYTE)
    twice, once = (
        node.invoke(name, body, query=f"{BLOCKING}&result=true")
        for name in ("twice", "echo")
    )
    rounds = by_turns(twice, once, rounds=SIZE_ROUNDS)
    medians = [(two.p50_ms, one.p50_ms) for two, one in rounds]
    return Row(
        name=f"sequence_{kilobytes}k",
        what=f"two-step sequence, {kilobytes} KB in and out, warm: p50",
        value=median_ratio(medians),
        unit="x one invocation",
        sign="<=",
        aim=1.5,
        detail={
            "sequence_ms": rounded([ms for ms, _ in medians]),
            "single_ms": rounded([ms for _, ms in medians]),
        },
    )
