"""Receipts: who is acknowledged when."""

from __future__ import annotations

import asyncio

from edge_agent.events.backoff import Backoff
from edge_agent.events.base import Receipt
from edge_agent.events.fake import FakeSink
from edge_agent.events.intake import Intake
from edge_agent.events.mapping import Encoding
from edge_agent.events.packets import Message
from edge_agent.events.routes import Counts, Route, Routes
from edge_agent.events.shape import Shape
from edge_agent.events.topics import TopicFilter

RETRY_S = 0.01


class Desk:
    """An intake and what it acknowledged."""

    def __init__(self, sink: FakeSink, **filters: str) -> None:
        self.sink = sink
        self.routes = Routes()
        for name, text in filters.items():
            self.routes.add(Route(name, TopicFilter(text), shape=Shape(Encoding.JSON)))
        self.acknowledged: list[int] = []
        self.counts = Counts()
        self.intake = Intake(
            self.routes,
            sink,
            counts=self.counts,
            acknowledge=self.acknowledged.append,
            backoff=lambda: Backoff(RETRY_S, RETRY_S),
            wall_ms=lambda: 1,
        )

    def take(self, packet_id: int, topic: str = "a", payload: bytes = b"1") -> None:
        message = Message(
            topic=topic, payload=payload, qos=int(packet_id > 0), packet_id=packet_id
        )
        self.intake.take(message)


async def test_a_message_is_acknowledged_when_it_is_kept() -> None:
    desk = Desk(FakeSink(None), t="a")
    desk.take(1)
    assert desk.acknowledged == []
    assert desk.intake.offered == 1

    desk.sink.settle(Receipt.KEPT)
    await asyncio.sleep(0)

    assert desk.acknowledged == [1]
    assert desk.intake.offered == 0


async def test_a_message_for_two_triggers_waits_for_both() -> None:
    desk = Desk(FakeSink(None), one="a", two="#")
    desk.take(1)
    desk.sink.settle(Receipt.KEPT, most=1)
    await asyncio.sleep(0)
    assert desk.acknowledged == []

    desk.sink.settle(Receipt.UNWANTED)
    await asyncio.sleep(0)

    assert desk.acknowledged == [1]
    assert desk.counts.unwanted == 1


async def test_what_nobody_subscribes_to_is_acknowledged_and_counted() -> None:
    desk = Desk(FakeSink(), t="a")
    desk.take(1, "other")

    assert desk.acknowledged == [1]
    assert desk.counts.unwanted == 1
    assert desk.sink.events == []


async def test_what_is_not_json_is_acknowledged_counted_and_not_fired() -> None:
    desk = Desk(FakeSink(), t="a")
    desk.take(1, payload=b"{")

    assert desk.acknowledged == [1]
    assert desk.counts.malformed == 1
    assert desk.sink.events == []


async def test_refused_messages_are_kept_in_order_until_they_are_taken() -> None:
    desk = Desk(FakeSink(Receipt.REFUSED), t="a", u="b")
    for packet_id in range(1, 6):
        desk.take(packet_id)
    assert len(desk.sink.events) == 1  # the others wait behind the first
    assert desk.intake.held == 5
    desk.sink.answer = Receipt.KEPT
    desk.take(6, "b")  # another trigger does not wait
    assert desk.acknowledged == [6]

    await asyncio.sleep(3 * RETRY_S)

    assert desk.acknowledged == [6, 1, 2, 3, 4, 5]
    assert desk.intake.held == 0


async def test_a_probe_that_is_refused_again_is_tried_again() -> None:
    desk = Desk(FakeSink(Receipt.REFUSED), t="a")
    desk.take(1)
    desk.take(2)
    await asyncio.sleep(4 * RETRY_S)
    assert desk.acknowledged == []
    assert desk.counts.refused > 1
    desk.sink.answer = Receipt.KEPT

    await asyncio.sleep(3 * RETRY_S)

    assert desk.acknowledged == [1, 2]


async def test_late_refusals_return_to_their_places() -> None:
    desk = Desk(FakeSink(None), t="a")
    for packet_id in (1, 2, 3):
        desk.take(packet_id)
    desk.sink.answer = Receipt.KEPT
    desk.sink.settle(Receipt.REFUSED)
    await asyncio.sleep(3 * RETRY_S)

    assert desk.acknowledged == [1, 2, 3]


async def test_qos_0_has_no_promise_and_is_not_held() -> None:
    desk = Desk(FakeSink(Receipt.REFUSED), t="a")
    desk.take(0)

    assert desk.intake.held == 0
    assert desk.counts.refused == 1
    desk.sink.answer = Receipt.KEPT
    desk.take(0)
    assert desk.acknowledged == []  # there is nothing to acknowledge with
    assert desk.counts.acknowledged == 1


async def test_after_the_connection_nothing_is_acknowledged() -> None:
    desk = Desk(FakeSink(None), t="a")
    desk.take(1)
    desk.intake.close()
    desk.sink.settle(Receipt.KEPT)
    desk.take(2)
    await asyncio.sleep(0)

    assert desk.acknowledged == []


async def test_once_stopped_new_messages_stay_with_the_broker() -> None:
    desk = Desk(FakeSink(None), t="a")
    desk.take(1)
    desk.intake.stop_taking()
    desk.take(2)
    desk.sink.settle(Receipt.KEPT)
    await asyncio.sleep(0)

    assert desk.acknowledged == [1]
    assert len(desk.sink.events) == 1
