"""`edgectl fleet status`: every node at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from controller.cli.call import Call, with_target

if TYPE_CHECKING:
    from controller.fleet.client import Client
    from controller.fleet.status import Differences, NodeStatus
    from controller.fleet.target import Chosen

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
#: A clock is told to be off beyond this, when that is more than may be wrong.
SKEW_MS = 50.0
_SECOND_MS = 1000.0


@with_target
async def status(call: Call) -> None:
    """Show every node: version, isolation, load, sandboxes, inbox, clock, manifest.

    `manifest` tells how many changes a node is away from what was applied last. The
    exit code is 1 when a node is down.
    """
    from controller.fleet.client import NO_RETRY
    from controller.fleet.status import TIMEOUT_S, fleet_status

    fleet = call.of_fleet()
    differences = _differences(fleet.chosen())
    async with fleet.clients(retry=NO_RETRY, timeout_s=TIMEOUT_S) as clients:
        found = await fleet_status(clients, differences)
    call.out.table(COLUMNS, [_row(one) for one in found], document=found)
    for one in found:
        if one.problem:
            call.out.warn(f"{one.name}: {one.problem}")
    if any(one.differs for one in found):
        call.out.hint("nodes that differ get what they lack by: edgectl apply")
    if not all(one.up for one in found):
        raise typer.Exit(1)


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
