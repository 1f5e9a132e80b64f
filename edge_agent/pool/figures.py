"""The pool in the words of OpenWhisk's series (E16, E17); worked out when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from edge_agent.pool.lifecycle import State
from edge_agent.pool.policy import Request
from edge_agent.pool.proxy import Proxy
from edge_agent.pool.queue import Queue
from edge_agent.pool.sandboxes import Sandboxes

#: What upstream calls sandboxes in these states; the others are on their way.
GROUPS = {
    "active": (State.RUNNING, State.INITIALIZING),
    "prewarm": (State.PREWARMED,),
    "idles": (State.READY,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """What the pool holds now; `states` counts sandboxes, `active` jobs in them."""

    states: Mapping[State, int]
    slots: int
    active: int
    memory_mb: int
    used_mb: int
    queued: int
    queued_blocking: int
    queued_bytes: int


class PrewarmCounts(msgspec.Struct):
    """By kind and memory in MB, of the kinds of which some are to stand prewarmed.

    `cold`: sandboxes that were started although; `unused`: those that went without
    having been used.
    """

    cold: Counter[tuple[str, int]] = msgspec.field(default_factory=Counter)
    unused: Counter[tuple[str, int]] = msgspec.field(default_factory=Counter)


class PoolFigures(msgspec.Struct, frozen=True, kw_only=True):
    """`containers` by E16's names, sizes in MB."""

    containers: Mapping[str, int]
    prewarm: PrewarmCounts
    in_flight_mb: int


def figures_of(
    sandboxes: Iterable[Proxy], waiting: Iterable[Request], prewarm: PrewarmCounts
) -> PoolFigures:
    counts: Counter[State] = Counter()
    sizes: Counter[State] = Counter()
    in_flight_mb = 0
    for proxy in sandboxes:
        if proxy.is_seat:
            continue
        counts[proxy.state] += 1
        sizes[proxy.state] += proxy.spec.memory_mb
        if proxy.waiting is not None:
            in_flight_mb += proxy.spec.memory_mb
    queued = [request.memory_mb for request in waiting]
    containers = {"runBufferCount": len(queued), "runBufferSize": sum(queued)}
    for name, states in GROUPS.items():
        containers[f"{name}Count"] = sum(counts[state] for state in states)
        containers[f"{name}Size"] = sum(sizes[state] for state in states)
    return PoolFigures(
        containers=containers,
        prewarm=prewarm,
        in_flight_mb=in_flight_mb + sum(queued),
    )


def view_of(sandboxes: Sandboxes, queue: Queue, slots: int, active: int) -> PoolView:
    return PoolView(
        states=sandboxes.counts(),
        slots=slots,
        active=active,
        memory_mb=sandboxes.memory_mb,
        used_mb=sandboxes.used_mb,
        queued=queue.jobs,
        queued_blocking=queue.blocking.jobs,
        queued_bytes=queue.bytes,
    )
