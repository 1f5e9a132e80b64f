"""All sandboxes of the pool and the memory they declare: what the policy looks at.

Counts are kept as things happen, never counted anew for a job. A sandbox declares its
memory from the moment it is decided on until it is destroyed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from edge_agent.pool.idle import Idle
from edge_agent.pool.lifecycle import Event, State
from edge_agent.pool.party import Party
from edge_agent.pool.policy import Revision
from edge_agent.pool.proxy import Proxy
from edge_agent.sandbox.base import Sandbox


class Sandboxes:
    """A policy `View` whose handles are proxies."""

    def __init__(
        self, *, memory_mb: int, concrete: Callable[[str], str | None]
    ) -> None:
        self.memory_mb = memory_mb
        self.used_mb = 0
        self.freeing_mb = 0
        self.concrete = concrete
        self._all: dict[Proxy, None] = {}
        self._idle = Idle()
        self._prewarmed: dict[Proxy, None] = {}
        self._coming: dict[Revision, Party] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Proxy]:
        return iter(list(self._all))

    def warm_for(self, revision: Revision) -> Proxy | None:
        return self._idle.latest_of(revision)

    def prewarmed_for(self, kind: str, memory_mb: int) -> Proxy | None:
        for proxy in self._prewarmed:
            spec = proxy.spec
            if (spec.kind, spec.memory_mb) == (kind, memory_mb) and proxy.alive:
                return proxy
        return None

    def coming_for(self, revision: Revision) -> Proxy | None:
        party = self._coming.get(revision)
        return party.host if party is not None and party.has_room else None

    def idle(self) -> Iterator[tuple[Proxy, int]]:
        return ((proxy, proxy.spec.memory_mb) for proxy in self._removable())

    def _removable(self) -> Iterator[Proxy]:
        """Of a party the host stands for all, when all of them are idle."""
        for proxy in self._idle:
            party = proxy.party
            if party is None or (party.host is proxy and party.idle):
                yield proxy

    def prewarmed(self) -> Iterator[tuple[Proxy, int]]:
        return ((proxy, proxy.spec.memory_mb) for proxy in self._prewarmed)

    def idle_since(self) -> Iterator[tuple[Proxy, int]]:
        for proxy in self._removable():
            yield proxy, proxy.party.used_ns if proxy.party else proxy.used_ns

    def idle_revisions(self) -> list[Revision]:
        return self._idle.revisions

    def standing(self) -> Counter[str]:
        """Prewarmed ones by kind, those that are on their way included."""
        unbound = (State.STARTING, State.PREWARMED)
        found = (p for p in self._all if p.waiting is None and p.state in unbound)
        return Counter(proxy.spec.kind for proxy in found)

    def counts(self) -> Counter[State]:
        return Counter(proxy.state for proxy in self._all if not proxy.is_seat)

    def start(self, proxy: Proxy) -> None:
        proxy.advance(Event.START)
        self._all[proxy] = None
        self.used_mb += proxy.spec.memory_mb

    def started(self, proxy: Proxy, sandbox: Sandbox) -> None:
        """From now on it is either bound to a job or stands prewarmed."""
        proxy.advance(Event.STARTED)
        proxy.sandbox = sandbox
        if proxy.waiting is None:
            self._prewarmed[proxy] = None

    def use_prewarmed(self, proxy: Proxy) -> None:
        del self._prewarmed[proxy]

    def use_idle(self, proxy: Proxy) -> None:
        self._idle.remove(proxy)

    def rest(self, proxy: Proxy) -> None:
        """A run has ended well: it is idle."""
        proxy.advance(Event.DONE)
        self._idle.add(proxy)

    def expect(self, party: Party, revision: Revision) -> None:
        """It is being made: others may board it."""
        self._coming[revision] = party

    def expect_no_more(self, party: Party) -> None:
        for revision, coming in list(self._coming.items()):
            if coming is party:
                del self._coming[revision]

    def seat(self, proxy: Proxy) -> None:
        """A further place in a sandbox; it stands idle."""
        self._all[proxy] = None
        self._idle.add(proxy)

    def leave(self, proxy: Proxy, event: Event) -> None:
        """`event` is remove or fail; it counts until it is `gone`."""
        was_ready = proxy.state is State.READY
        proxy.advance(event)
        if was_ready:
            self._idle.remove(proxy)
        self._prewarmed.pop(proxy, None)
        self.freeing_mb += proxy.spec.memory_mb

    def gone(self, proxy: Proxy) -> None:
        proxy.advance(Event.REMOVED)
        del self._all[proxy]
        self.used_mb -= proxy.spec.memory_mb
        self.freeing_mb -= proxy.spec.memory_mb
