"""The pool in the words of OpenWhisk's series (E16, E17); worked out when asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from edge_agent.pool.lifecycle import State
from edge_agent.pool.policy import Request
from edge_agent.pool.proxy import Proxy

#: What upstream calls sandboxes in these states; the others are on their way.
GROUPS = {
    "active": (State.RUNNING, State.INITIALIZING),
    "prewarm": (State.PREWARMED,),
    "idles": (State.READY,),
}


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
