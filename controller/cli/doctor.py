"""`edgectl doctor [NODE]`: what is wrong with the nodes, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target

if TYPE_CHECKING:
    from controller.fleet.client import Client

_COLUMNS = ("node", "version", "isolation", "kinds", "memory", "load", "inbox")
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """How one node is: what it told of itself, and what is wrong with it."""

    name: str
    url: str
    report: dict[str, Any]
    problems: tuple[str, ...]


@with_target
async def doctor(
    call: Call,
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="One node of the target.")
    ] = None,
) -> None:
    """Look at every node: does it answer, how does it isolate, what is in its way.

    The exit code is 1 when something is wrong.
    """
    import asyncio

    from controller.fleet.client import NO_RETRY

    chosen = call if node is None else Call(replace(call.choice, node=node), call.out)
    async with chosen.clients(retry=NO_RETRY, timeout_s=5) as clients:
        found = await asyncio.gather(*map(_look, clients))
    call.out.table(
        _COLUMNS,
        [_row(finding) for finding in found],
        document=[
            {
                "name": finding.name,
                "url": finding.url,
                "problems": finding.problems,
                "report": finding.report or None,
            }
            for finding in found
        ],
    )
    for finding in found:
        for problem in finding.problems:
            call.out.warn(f"{finding.name}: {problem}")
    if any(finding.problems for finding in found):
        raise typer.Exit(1)
    call.out.ok("nothing is wrong")


async def _look(client: Client) -> Finding:
    from controller.fleet.transport import OpenWhiskError

    target = client.target
    name = target.name or target.url
    try:
        await client.list_actions(limit=1)
        report = await client.edge("node")
    except OpenWhiskError as error:
        return Finding(name, target.url, {}, (_reason(error),))
    if not isinstance(report, dict):
        return Finding(name, target.url, {}, ("its report is not an object",))
    return Finding(name, target.url, report, problems_of(report))


def _reason(error: Any) -> str:
    if error.status in {404, 405}:
        return "an OpenWhisk host, but no agent of ours: it tells nothing of itself"
    if error.status == 403:  # noqa: PLR2004 Forbidden
        return "its report needs the system key: give --system-auth KEY"
    return str(error)


def problems_of(report: dict[str, Any]) -> tuple[str, ...]:
    """What a node's own report shows to be wrong."""
    isolation = report.get("isolation") or {}
    store = report.get("store") or {}
    found = [str(finding) for finding in isolation.get("findings") or ()]
    if isolation.get("level") == "rlimits":
        found.append("actions are not isolated: apt-get install bubblewrap")
    if store.get("failure"):
        found.append(f"the store fails: {store['failure']}")
    if not report.get("kinds"):
        found.append("no runtime: apt-get install python3 nodejs")
    for broker in (report.get("mqtt") or {}).get("brokers") or ():
        found += [f"broker {broker.get('broker')}: {one}" for one in _of_broker(broker)]
    return tuple(found)


def _of_broker(broker: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one connection of a node."""
    if broker.get("error"):
        yield str(broker["error"])
    dropped = broker.get("dropped_by_broker")
    if dropped:
        yield (
            f"has dropped {dropped} messages since it started: "
            "set max_queued_messages 0 and a byte limit in mosquitto.conf"
        )
    for one in broker.get("subscriptions") or ():
        if one.get("refusal"):
            yield f"refuses to subscribe {one.get('topic')}: {one['refusal']}"


def _row(finding: Finding) -> tuple[str, ...]:
    report = finding.report
    if not report:
        return (finding.name, "", "", "", "", "", "")
    pool, store = report.get("pool") or {}, report.get("store") or {}
    return (
        finding.name,
        str(report.get("version", "")),
        str((report.get("isolation") or {}).get("level", "")),
        ", ".join(report.get("kinds") or ()),
        f"{report.get('rss_bytes', 0) / MEBIBYTE:.0f} MB",
        f"{pool.get('running', 0)} of {pool.get('slots', '?')} slots",
        str(store.get("inbox", "")),
    )
