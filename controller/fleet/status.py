"""How every node is: asked all at once, none for longer than a few seconds.

The clock is compared by one HTTP round trip on a connection that is open already: what
the node says is taken to be from the middle of it, so half the round trip may be wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controller.fleet.client import Client
from controller.fleet.entries import Cluster
from controller.fleet.pods import Pod, PodsError, pods_of
from controller.fleet.transport import OpenWhiskError

TIMEOUT_S = 5.0
#: States of a sandbox that is initialised: the next invocation is warm.
WARM = ("ready", "running", "pausing", "paused")
_NO_AGENT = frozenset({404, 405})
_NOT_ENTITLED = 403

#: Of a node, how many changes it is away from what was applied.
Differences = Callable[[Client], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """One node; what it did not tell is None.

    `problem` says why it is down, or why it told little. `skew_ms` is how far its clock
    is ahead of ours, give or take `skew_error_ms`. `differs` counts the changes that
    would make it what was applied last; None where nothing was. `pods` are those of a
    cluster.
    """

    name: str
    url: str
    up: bool
    problem: str | None = None
    version: str | None = None
    isolation: str | None = None
    running: int | None = None
    slots: int | None = None
    warm: int | None = None
    inbox: int | None = None
    load: float | None = None
    temperature_c: float | None = None
    skew_ms: float | None = None
    skew_error_ms: float | None = None
    uptime_s: float | None = None
    differs: int | None = None
    pods: tuple[Pod, ...] | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A node's report, and our clocks around it."""

    report: dict[str, Any]
    sent_ms: float
    round_trip_ms: float


async def fleet_status(
    clients: Sequence[Client],
    differences: Differences | None = None,
    clusters: Mapping[str, Cluster] | None = None,
) -> list[NodeStatus]:
    """Every node's, in their order; nothing is raised for a node that is away.

    `clusters` tells of targets, by name, where their pods are.
    """

    async def one(client: Client) -> NodeStatus:
        status = await _status(client, differences)
        cluster = (clusters or {}).get(client.target.name)
        return status if cluster is None else await _with_pods(status, cluster)

    return list(await asyncio.gather(*map(one, clients)))


async def _status(client: Client, differences: Differences | None) -> NodeStatus:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _ask(client, differences)
    except TimeoutError:
        problem = f"no answer within {TIMEOUT_S:g} s"
    except OpenWhiskError as error:
        problem = str(error)
    target = client.target
    return NodeStatus(
        name=target.name or target.url, url=target.url, up=False, problem=problem
    )


async def _with_pods(status: NodeStatus, cluster: Cluster) -> NodeStatus:
    """A cluster tells of its pods what an agent tells of itself."""
    problem = None if status.up else status.problem
    try:
        pods = await asyncio.to_thread(pods_of, cluster)
    except (PodsError, ModuleNotFoundError) as error:
        return replace(status, problem=problem or str(error))
    return replace(status, problem=problem, pods=tuple(pods))


async def _ask(client: Client, differences: Differences | None) -> NodeStatus:
    await client.list_actions(limit=1)  # is it there, and is the key right?
    differs = None if differences is None else await differences(client)
    name, url = client.target.name or client.target.url, client.target.url
    try:
        heard = await _hear(client)
    except OpenWhiskError as error:
        if error.status not in {*_NO_AGENT, _NOT_ENTITLED}:
            raise
        return NodeStatus(
            name=name, url=url, up=True, problem=_why(error), differs=differs
        )
    return status_of(heard, name=name, url=url, differs=differs)


async def _hear(client: Client) -> Heard:
    sent_ms, started = time.time() * 1000, time.monotonic()
    report = await client.edge("node")
    round_trip_ms = (time.monotonic() - started) * 1000
    return Heard(report if isinstance(report, dict) else {}, sent_ms, round_trip_ms)


def status_of(heard: Heard, *, name: str, url: str, differs: int | None) -> NodeStatus:
    """A report as a status; older agents tell less."""
    report = heard.report
    pool, sensors = report.get("pool") or {}, report.get("sensors") or {}
    sandboxes = pool.get("sandboxes") or {}
    loads = sensors.get("load") or [None]
    skew_ms, error_ms = skew_of(heard)
    return NodeStatus(
        name=name,
        url=url,
        up=True,
        version=report.get("version"),
        isolation=(report.get("isolation") or {}).get("level"),
        running=pool.get("running"),
        slots=pool.get("slots"),
        warm=sum(sandboxes.get(state, 0) for state in WARM) if pool else None,
        inbox=(report.get("store") or {}).get("inbox"),
        load=loads[0],
        temperature_c=sensors.get("cpu_temperature_c"),
        skew_ms=skew_ms,
        skew_error_ms=error_ms,
        uptime_s=report.get("uptime_s"),
        differs=differs,
    )


def skew_of(heard: Heard) -> tuple[float | None, float | None]:
    """How far the node's clock is ahead, and how far that may be wrong, in ms."""
    now_ms = heard.report.get("now_ms")
    if not isinstance(now_ms, int | float):
        return None, None
    half_ms = heard.round_trip_ms / 2
    return round(now_ms - (heard.sent_ms + half_ms), 1), round(half_ms, 1)


def _why(error: OpenWhiskError) -> str:
    if error.status == _NOT_ENTITLED:
        return "tells little without the system key (--system-auth KEY)"
    return "an OpenWhisk host, but no agent of ours"
