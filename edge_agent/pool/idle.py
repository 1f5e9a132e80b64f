"""The warm sandboxes that wait for a job: by revision, and by the time of last use."""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.pool.policy import Revision
from edge_agent.pool.proxy import Proxy


class Idle:
    """Latest use first when a job asks, oldest use first when memory is wanted."""

    def __init__(self) -> None:
        self._of: dict[Revision, list[Proxy]] = {}
        #: In order of last use: whoever is used leaves and comes back at the end.
        self._by_use: dict[Proxy, None] = {}

    def __len__(self) -> int:
        return len(self._by_use)

    def __iter__(self) -> Iterator[Proxy]:
        """Oldest use first."""
        return iter(self._by_use)

    @property
    def revisions(self) -> list[Revision]:
        return list(self._of)

    def latest_of(self, revision: Revision) -> Proxy | None:
        """The one used last that is still alive."""
        for proxy in reversed(self._of.get(revision, ())):
            if proxy.alive:
                return proxy
        return None

    def add(self, proxy: Proxy) -> None:
        of = self._of.get(proxy.revision)
        if of is None:
            self._of[proxy.revision] = [proxy]
        else:
            of.append(proxy)
        self._by_use[proxy] = None

    def remove(self, proxy: Proxy) -> None:
        del self._by_use[proxy]
        of = self._of[proxy.revision]
        if len(of) == 1:
            del self._of[proxy.revision]
        elif of[-1] is proxy:
            of.pop()
        else:
            of.remove(proxy)
