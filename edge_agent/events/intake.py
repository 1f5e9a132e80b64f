"""From messages to receipts: offers each message to the sink and acknowledges it.

A message is acknowledged once every trigger it is for has a receipt KEPT or UNWANTED,
or has left it out (see `shape` and `pace`). What is REFUSED waits here and is offered
again with back-off, in the order it came, one subscription apart from the others. While
a subscription has something waiting, what comes after it waits behind it. No more than
the Receive Maximum is unacknowledged at any time, so no more than that can wait; a
broker that forgets it, as mosquitto 2.0.11 does under load, is read more slowly. A
message of QoS 0 has no promise, is never held and is left out (and counted) when it is
refused.

One intake lives as long as one connection: a packet id means nothing on the next one,
where the broker sends again what was not acknowledged.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from edge_agent.events.backoff import Backoff
from edge_agent.events.base import Event, Receipt, Sink
from edge_agent.events.mapping import Retained
from edge_agent.events.pacer import Paced, Pacer
from edge_agent.events.packets import NO_PROPERTIES, Message
from edge_agent.events.payloads import batch_payload
from edge_agent.events.replies import reply_for
from edge_agent.events.routes import Counts, Route, Routes
from edge_agent.events.shape import Left

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Unit:
    """What one PUBACK stands for: `waiting` receipts are still out."""

    packet_id: int
    waiting: int


@dataclass(slots=True, eq=False)
class _Delivery:
    """One event on its way to one subscription; `place` is its turn."""

    place: int
    event: Event
    route: Route
    units: Sequence[Unit]


class _Held:
    """What one subscription was refused, in order, since `since_s`."""

    __slots__ = ("backoff", "deliveries", "since_s", "timer")

    def __init__(self, backoff: Backoff, since_s: float) -> None:
        self.backoff = backoff
        self.since_s = since_s
        self.deliveries: list[_Delivery] = []
        self.timer: asyncio.TimerHandle | None = None

    @property
    def messages(self) -> int:
        return sum(len(delivery.units) for delivery in self.deliveries)


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
        window: int = 1000,
        broker: str = "",
        on_held: Callable[[str, int, float], None] | None = None,
    ) -> None:
        """Store what it needs.

        Args:
            routes: whose a message is.
            sink: gets the events.
            counts: of the whole connection.
            acknowledge: sends a PUBACK.
            backoff: makes the waits of one subscription.
            wall_ms: the clock of `received`.
            window: what the broker sends without a receipt.
            broker: where answers to requests go.
            on_held: told of a subscription that is refused still, with how many of its
                messages wait and since when (the loop's clock).
        """
        self._routes = routes
        self._sink = sink
        self._counts = counts
        self._acknowledge = acknowledge
        self._backoff = backoff
        self._wall_ms = wall_ms
        self._window = window
        self._broker = broker
        self._on_held = on_held
        self._held: dict[str, _Held] = {}
        self._pacers: dict[Route, Pacer] = {}
        self._place = 0
        self._taking = True
        self._closed = False
        #: Whether the broker still had our session: then nothing here is new to it.
        self.session_present = False
        #: Offers whose receipt is out.
        self.offered = 0
        #: Messages that the broker has no receipt for.
        self.unacknowledged = 0

    @property
    def held(self) -> int:
        return sum(held.messages for held in self._held.values())

    @property
    def paced(self) -> int:
        """Messages that wait for their time."""
        return sum(len(pacer) for pacer in self._pacers.values())

    def stop_taking(self) -> None:
        """Leave what comes from now on to the broker; receipts still count."""
        self._taking = False
        for held in self._held.values():
            _cancel(held)
        for pacer in self._pacers.values():
            pacer.stop()

    def close(self) -> None:
        """The connection is gone: nothing can be acknowledged any more."""
        self.stop_taking()
        self._closed = True
        self._held.clear()
        self._pacers.clear()

    def forget(self, route: Route) -> None:
        """It is not subscribed any more: what waited for its time is let go."""
        pacer = self._pacers.pop(route, None)
        if pacer is not None:
            pacer.stop()
            for paced in pacer.take():
                self._receipt_given(paced.unit)

    def take(self, message: Message) -> None:
        """Handle one message; called for each, so it makes no task."""
        if not self._taking:
            return
        self._counts.received += 1
        routes = self._routes.of(message.topic, message.identifiers)
        unit = Unit(message.packet_id, len(routes))
        if message.packet_id:
            self.unacknowledged += 1
        if not routes:
            self._counts.unwanted += 1
            self._receipt_given(unit)
        for route in routes:
            self._deliver(message, route, unit)

    def _deliver(self, message: Message, route: Route, unit: Unit) -> None:
        route.counts.received += 1
        if message.retain and not self._wants_retained(message, route):
            self._leave_out(Left.RETAINED, message, route, unit)
            return
        read = route.shape.read(message, received_ms=self._wall_ms())
        if isinstance(read, Left):
            self._leave_out(read, message, route, unit)
            return
        if route.throttle is not None and not route.throttle.admits(
            message.topic, asyncio.get_running_loop().time()
        ):
            self._leave_out(Left.THROTTLED, message, route, unit)
            return
        reply = None
        if message.properties is not NO_PROPERTIES and route.respond:
            reply = reply_for(message.properties, route.subscription, self._broker)
        event = Event(
            subscription=route.subscription,
            payload=read.payload,
            origin=f"mqtt:{message.topic}",
            dedup=read.dedup,
            reply=reply,
        )
        if route.pace.debounce is None and route.pace.batch is None:
            self._deliver_event(event, route, (unit,))
        else:
            self._pacer(route).put(Paced(message.topic, event, unit))

    def _deliver_event(self, event: Event, route: Route, units: Sequence[Unit]) -> None:
        self._place += 1
        self._deliver_or_hold(_Delivery(self._place, event, route, units))

    def _wants_retained(self, message: Message, route: Route) -> bool:
        """A copy sent again was wanted when it came first."""
        if message.duplicate or route.retained is Retained.ALL:
            return route.retained is not Retained.IGNORE
        if route.retained is Retained.IGNORE:
            return False
        new = route.fresh or not self.session_present
        return new and route.greets(message.topic)

    def _pacer(self, route: Route) -> Pacer:
        pacer = self._pacers.get(route)
        if pacer is None:
            pacer = self._pacers[route] = Pacer(
                route.pace,
                most=self._window,
                fire=partial(self._deliver_paced, route),
                replaced=partial(self._leave_out_paced, route),
            )
        return pacer

    def _deliver_paced(self, route: Route, paced: Sequence[Paced]) -> None:
        event = paced[-1].event
        if route.pace.batch is not None:
            event = Event(
                subscription=event.subscription,
                payload=batch_payload([one.event.payload for one in paced]),
                origin=event.origin,
            )
        self._deliver_event(event, route, [one.unit for one in paced])

    def _leave_out_paced(self, route: Route, paced: Paced) -> None:
        self._count_left(Left.DEBOUNCED, route)
        self._receipt_given(paced.unit)

    # --- receipts -------------------------------------------------------------------

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
        delivery.route.counts.acknowledged += len(delivery.units)
        for unit in delivery.units:
            self._receipt_given(unit)

    def _leave_out(
        self, left: Left, message: Message, route: Route, unit: Unit
    ) -> None:
        self._count_left(left, route)
        if left is Left.MALFORMED and route.counts.malformed == 1:
            text = "%s: a message on %s cannot be read; such are left out and counted"
            log.warning(text, route.subscription, message.topic)
        self._receipt_given(unit)

    def _count_left(self, left: Left, route: Route) -> None:
        for counts in (route.counts, self._counts):
            setattr(counts, left, getattr(counts, left) + 1)

    def _receipt_given(self, unit: Unit) -> None:
        unit.waiting -= 1
        if unit.waiting <= 0:
            self._counts.acknowledged += 1
            if unit.packet_id:
                self.unacknowledged -= 1
                self._acknowledge(unit.packet_id)

    # --- what was refused -----------------------------------------------------------

    def _hold(self, delivery: _Delivery) -> None:
        if not any(unit.packet_id for unit in delivery.units):
            return
        held = self._held.get(delivery.route.subscription)
        if held is None:
            now_s = asyncio.get_running_loop().time()
            held = _Held(self._backoff(), now_s)
            self._held[delivery.route.subscription] = held
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
            if self._on_held is not None:
                self._on_held(delivery.route.subscription, held.messages, held.since_s)
            return
        del self._held[delivery.route.subscription]
        self._settle_taken(delivery, receipt)
        for waiting in held.deliveries:
            self._deliver_or_hold(waiting)


def _cancel(held: _Held) -> None:
    if held.timer is not None:
        held.timer.cancel()
        held.timer = None
