"""`edgectl fleet status`: every node at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from controller.cli.call import Call, with_target

if TYPE_CHECKING:
    from controller.fleet.client import Client
    from controller.fleet.pods import Pod
    from controller.fleet.status import Differences, NodeStatus
    from controller.fleet.target import Chosen, Target

COLUMNS: tuple[str, ...] = (
    "node",
    "state",
    "version",
    "isolation",
    "busy",
    "warm",
    "inbox",
)
COLUMNS += ("load", "temp", "clock", "manifest")
POD_COLUMNS = ("target", "pod", "state", "ready", "restarts", "on", "age")
#: A clock is told to be off beyond this, when that is more than may be wrong.
SKEW_MS = 50.0
_SECOND_MS = 1000.0
_MINUTE_S = 60.0


@with_target
async def status(call: Call) -> None:
    """Show every node: version, isolation, load, sandboxes, inbox, clock, manifest.

    `manifest` tells how many changes a node is away from what was applied last. Of a
    cluster (`edgectl deploy --engine openwhisk`) the pods are shown too. The exit code
    is 1 when a node is down.
    """
    from controller.fleet.client import NO_RETRY, Client
    from controller.fleet.entries import PLACE, read_clusters
    from controller.fleet.status import TIMEOUT_S, fleet_status

    clusters = read_clusters(Path.home() / PLACE)
    targets, differences = _targets(call, list(clusters))
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                Client(target, retry=NO_RETRY, timeout_s=TIMEOUT_S)
            )
            for target in targets
        ]
        found = await fleet_status(clients, differences, clusters)
    call.out.table(COLUMNS, [_row(one) for one in found], document=found)
    pods = [(one.name, pod) for one in found for pod in one.pods or ()]
    if pods and not call.out.json:
        call.out.table(POD_COLUMNS, [_pod_row(*each) for each in pods], document=None)
    for one in found:
        if one.problem:
            call.out.warn(f"{one.name}: {one.problem}")
    if any(one.differs for one in found):
        call.out.hint("nodes that differ get what they lack by: edgectl apply")
    if not all(one.up for one in found):
        raise typer.Exit(1)


def _targets(
    call: Call, clusters: Sequence[str]
) -> tuple[list[Target], Differences | None]:
    """What was asked for; by itself the inventory, and every cluster that is known."""
    from controller.fleet.target import TargetError

    given, fleet = call.choice, call.of_fleet()
    alone = not (given.fleet or given.dir or given.url or given.node)
    try:
        chosen = fleet.chosen()
    except TargetError:
        if not (alone and clusters):
            raise
        targets, differences = [], None
    else:
        targets, differences = list(chosen.targets), _differences(chosen)
    names = {target.name for target in targets}
    for name in clusters if alone else ():
        if name not in names:
            choice = replace(given, url=name)
            targets += Call(choice, call.out).chosen().targets
    return targets, differences


def _differences(chosen: Chosen) -> Differences | None:
    from controller.manifest.apply import differences
    from controller.manifest.kept import place_of, read_kept

    kept = [] if chosen.source is None else read_kept(place_of(chosen.source))
    if not kept:
        return None

    async def count(client: Client) -> int:
        return await differences(client, kept)

    return count


def _row(one: NodeStatus) -> tuple[str, ...]:
    return (
        one.name,
        "up" if one.up else "down",
        one.version or "",
        one.isolation or "",
        "" if one.slots is None else f"{one.running} of {one.slots}",
        _plain(one.warm),
        _plain(one.inbox),
        _plain(one.load),
        "" if one.temperature_c is None else f"{one.temperature_c:g} °C",
        _clock(one),
        _manifest(one),
    )


def _pod_row(target: str, pod: Pod) -> tuple[str, ...]:
    state = pod.reason or pod.phase
    ready = "yes" if pod.ready else "no"
    age = "" if pod.age_s is None else f"{pod.age_s / _MINUTE_S:.0f} min"
    return (target, pod.name, state, ready, str(pod.restarts), pod.node, age)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _clock(one: NodeStatus) -> str:
    if one.skew_ms is None or one.skew_error_ms is None:
        return ""
    if abs(one.skew_ms) <= max(SKEW_MS, one.skew_error_ms):
        return f"right ±{one.skew_error_ms:.0f} ms"
    word = "ahead" if one.skew_ms > 0 else "behind"
    off = abs(one.skew_ms)
    text = f"{off / _SECOND_MS:.1f} s" if off >= _SECOND_MS else f"{off:.0f} ms"
    return f"{text} {word}"


def _manifest(one: NodeStatus) -> str:
    if one.differs is None:
        return ""
    return f"differs ({one.differs})" if one.differs else "as applied"
