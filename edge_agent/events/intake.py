"""From messages to receipts: offers each message to the sink and acknowledges it.

A message is acknowledged once every trigger it is for has a receipt KEPT or UNWANTED.
What is REFUSED waits here and is offered again with back-off, in the order it came, one
subscription apart from the others. While a subscription has something waiting, what
comes after it waits behind it. No more than the Receive Maximum is unacknowledged at
any time, so no more than that can wait; a message of QoS 0 has no promise, is never
held and is left out (and counted) when it is refused.

One intake lives as long as one connection: a packet id means nothing on the next one,
where the broker sends again what was not acknowledged.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edge_agent.events.backoff import Backoff
from edge_agent.events.base import Event, Receipt, Sink
from edge_agent.events.mapping import trigger_payload
from edge_agent.events.packets import Message
from edge_agent.events.routes import Counts, Route, Routes

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Unit:
    """What one PUBACK stands for: `waiting` receipts are still out."""

    packet_id: int
    waiting: int


@dataclass(slots=True, eq=False)
class _Delivery:
    """One message on its way to one subscription; `place` is its turn."""

    place: int
    event: Event
    route: Route
    unit: _Unit


class _Held:
    """What one subscription was refused, in order."""

    __slots__ = ("backoff", "deliveries", "timer")

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.deliveries: list[_Delivery] = []
        self.timer: asyncio.TimerHandle | None = None


class Intake:
    """Owns what has been received on one connection and not yet acknowledged."""

    def __init__(
        self,
        routes: Routes,
        sink: Sink,
        *,
        counts: Counts,
        acknowledge: Callable[[int], None],
        backoff: Callable[[], Backoff],
        wall_ms: Callable[[], int],
    ) -> None:
        self._routes = routes
        self._sink = sink
        self._counts = counts
        self._acknowledge = acknowledge
        self._backoff = backoff
        self._wall_ms = wall_ms
        self._held: dict[str, _Held] = {}
        self._place = 0
        self._taking = True
        self._closed = False
        #: Offers whose receipt is out.
        self.offered = 0

    @property
    def held(self) -> int:
        return sum(len(held.deliveries) for held in self._held.values())

    def stop_taking(self) -> None:
        """Leave what comes from now on to the broker; receipts still count."""
        self._taking = False
        for held in self._held.values():
            _cancel(held)

    def close(self) -> None:
        """The connection is gone: nothing can be acknowledged any more."""
        self.stop_taking()
        self._closed = True
        self._held.clear()

    def take(self, message: Message) -> None:
        """Handle one message; called for each, so it makes no task."""
        if not self._taking:
            return
        self._counts.received += 1
        routes = self._routes.of(message.topic, message.identifiers)
        unit = _Unit(message.packet_id, len(routes))
        if not routes:
            self._counts.unwanted += 1
            self._receipt_given(unit)
        for route in routes:
            self._deliver(message, route, unit)

    def _deliver(self, message: Message, route: Route, unit: _Unit) -> None:
        route.counts.received += 1
        payload = trigger_payload(message, route.encoding, received_ms=self._wall_ms())
        if payload is None:
            self._settle_malformed(message, route, unit)
            return
        event = Event(
            subscription=route.subscription,
            payload=payload,
            origin=f"mqtt:{message.topic}",
        )
        self._place += 1
        delivery = _Delivery(self._place, event, route, unit)
        self._deliver_or_hold(delivery)

    def _deliver_or_hold(self, delivery: _Delivery) -> None:
        if delivery.route.subscription in self._held:
            self._hold(delivery)
        else:
            self._offer(delivery, self._settle)

    def _offer(
        self, delivery: _Delivery, settle: Callable[[_Delivery, Receipt], None]
    ) -> None:
        future = self._sink(delivery.event)
        if future.done():
            settle(delivery, future.result())
            return
        self.offered += 1
        future.add_done_callback(partial(self._answered, delivery, settle))

    def _answered(
        self,
        delivery: _Delivery,
        settle: Callable[[_Delivery, Receipt], None],
        future: asyncio.Future[Receipt],
    ) -> None:
        self.offered -= 1
        if not self._closed:
            cancelled = future.cancelled()
            settle(delivery, Receipt.REFUSED if cancelled else future.result())

    def _settle(self, delivery: _Delivery, receipt: Receipt) -> None:
        if receipt is Receipt.REFUSED:
            delivery.route.counts.refused += 1
            self._counts.refused += 1
            self._hold(delivery)
        else:
            self._settle_taken(delivery, receipt)

    def _settle_taken(self, delivery: _Delivery, receipt: Receipt) -> None:
        if receipt is Receipt.UNWANTED:
            delivery.route.counts.unwanted += 1
            self._counts.unwanted += 1
        delivery.route.counts.acknowledged += 1
        self._receipt_given(delivery.unit)

    def _settle_malformed(self, message: Message, route: Route, unit: _Unit) -> None:
        route.counts.malformed += 1
        self._counts.malformed += 1
        if route.counts.malformed == 1:
            text = "%s: a message on %s is not JSON; such are left out and counted"
            log.warning(text, route.subscription, message.topic)
        self._receipt_given(unit)

    def _receipt_given(self, unit: _Unit) -> None:
        unit.waiting -= 1
        if unit.waiting <= 0:
            self._counts.acknowledged += 1
            if unit.packet_id:
                self._acknowledge(unit.packet_id)

    # --- what was refused -----------------------------------------------------------

    def _hold(self, delivery: _Delivery) -> None:
        if not delivery.unit.packet_id:
            return
        held = self._held.get(delivery.route.subscription)
        if held is None:
            held = self._held[delivery.route.subscription] = _Held(self._backoff())
            self._offer_later(held)
        bisect.insort(held.deliveries, delivery, key=lambda one: one.place)

    def _offer_later(self, held: _Held) -> None:
        if self._taking:
            loop = asyncio.get_running_loop()
            held.timer = loop.call_later(held.backoff.next_s(), self._probe, held)

    def _probe(self, held: _Held) -> None:
        """Offer the first; the others follow when it is taken."""
        held.timer = None
        self._offer(held.deliveries.pop(0), partial(self._settle_probe, held))

    def _settle_probe(self, held: _Held, delivery: _Delivery, receipt: Receipt) -> None:
        if receipt is Receipt.REFUSED:
            delivery.route.counts.refused += 1
            self._counts.refused += 1
            held.deliveries.insert(0, delivery)
            self._offer_later(held)
            return
        del self._held[delivery.route.subscription]
        self._settle_taken(delivery, receipt)
        for waiting in held.deliveries:
            self._deliver_or_hold(waiting)


def _cancel(held: _Held) -> None:
    if held.timer is not None:
        held.timer.cancel()
        held.timer = None
