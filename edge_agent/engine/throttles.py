"""Throttles: how much a namespace may ask for (A57, A57a, D22-D27).

Invocations and fires are counted apart, each in calendar minutes, those that are
refused as well; what runs or waits to run is in flight. An invocation counts where it
is asked for: one for a sequence whatever it comes to, one for each rule of a fire, one
for a web action, of the namespace that owns it.

An HTTP caller is refused. A feed's event is not (promise 1 of the design): it waits at
its source until there is room, and has not been counted before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from edge_agent.engine.limits import Limits
from edge_agent.model.errors import TooManyInFlight, TooManyInMinute, TooManyRequests

MINUTE_MS = 60_000

#: Told of each refusal: the namespace, and what it had too much of.
OnRefusal = Callable[[str, TooManyRequests], None]


class Throttles:
    """Owns the counters. `accepted` counts a namespace's rows in the inbox."""

    def __init__(
        self,
        limits: Limits,
        accepted: Mapping[str, int],
        *,
        wall_ms: Callable[[], int],
        on_refusal: OnRefusal,
    ) -> None:
        self._limits = limits
        self._accepted = accepted
        self._wall_ms = wall_ms
        self._on_refusal = on_refusal
        self._minute = -1
        self._invocations: Counter[str] = Counter()
        self._fires: Counter[str] = Counter()
        self._waited_for: Counter[str] = Counter()

    def invoke(self, namespace: str) -> None:
        """Count an invocation.

        Raises:
            TooManyInMinute, TooManyInFlight: it is one too many.
        """
        self._turn()
        count = self._invocations[namespace] + 1
        self._invocations[namespace] = count
        limits = self._limits.of(namespace)
        if count > limits.invocations_per_minute:
            self._refuse(
                namespace, TooManyInMinute(count, limits.invocations_per_minute)
            )
        running = self._in_flight(namespace)
        if running >= limits.concurrent_invocations:
            self._refuse(
                namespace, TooManyInFlight(running, limits.concurrent_invocations)
            )

    def fire(self, namespace: str) -> None:
        """Count a fire; see `invoke`. Its rules' invocations are counted apart."""
        self._turn()
        self._fires[namespace] = count = self._fires[namespace] + 1
        allowed = self._limits.of(namespace).fires_per_minute
        if count > allowed:
            self._refuse(namespace, TooManyInMinute(count, allowed))

    def check_room(self, namespace: str, *, fire: bool) -> None:
        """Raise TooManyRequests as long as an event is to wait; nothing is counted."""
        self._turn()
        limits = self._limits.of(namespace)
        count, allowed = self._invocations[namespace], limits.invocations_per_minute
        if count >= allowed:
            raise TooManyInMinute(count, allowed)
        count, allowed = self._fires[namespace], limits.fires_per_minute
        if fire and count >= allowed:
            raise TooManyInMinute(count, allowed)
        count, allowed = self._in_flight(namespace), limits.concurrent_invocations
        if count >= allowed:
            raise TooManyInFlight(count, allowed)

    def count(self, namespace: str, *, fires: int = 0, invocations: int = 0) -> None:
        """Count what there was room for."""
        self._fires[namespace] += fires
        self._invocations[namespace] += invocations

    def enter(self, namespace: str) -> None:
        """A caller waits for an activation that is not in the inbox."""
        self._waited_for[namespace] += 1

    def leave(self, namespace: str) -> None:
        self._waited_for[namespace] -= 1

    def _turn(self) -> None:
        """Begin a new minute when it has come (D23)."""
        minute = self._wall_ms() // MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._invocations.clear()
            self._fires.clear()

    def _in_flight(self, namespace: str) -> int:
        return self._waited_for[namespace] + self._accepted.get(namespace, 0)

    def _refuse(self, namespace: str, error: TooManyRequests) -> None:
        self._on_refusal(namespace, error)
        raise error
