"""The GPIO source: pins that triggers watch, one hop from gpiozero's threads.

A callback makes one `call_soon_threadsafe`; all else happens on the loop. An edge
cannot be asked for again, so what the sink refuses waits here, in order, at most
`WAITING_MOST` of it; beyond that the oldest is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from edge_agent.events.base import (
    BuiltinError,
    Event,
    Receipt,
    Sink,
    SourceState,
    Subscription,
)
from edge_agent.events.gpio_board import Board
from edge_agent.events.gpio_inputs import InputConfig, parse_input
from edge_agent.events.gpio_pins import Holder, Pins, places
from edge_agent.events.gpio_watch import Watch

FEED = "whisk.system/gpio/watch"
WAITING_MOST = 10_000
RETRY_S = 1.0

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class GpioSource:
    """A `Source`. `board` and `pins` are shared with the package's actions."""

    def __init__(
        self,
        board: Board,
        pins: Pins,
        state: SourceState,
        sink: Sink,
        *,
        exists: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Store what it needs; `exists` tells whether a trigger is still there."""
        self._board = board
        self._pins = pins
        self._state = state
        self._sink = sink
        self._exists = exists
        self._watches: dict[str, Watch] = {}
        self._unusable: dict[str, str] = {}
        self._waiting: deque[Event] = deque()
        self._retrying: asyncio.TimerHandle | None = None
        self._taking = True
        self.fired = 0
        self.dropped = 0

    async def run(self) -> None:
        """Watch until cancelled; then let go of every pin."""
        try:
            for subscription in self._state.subscriptions(FEED):
                if subscription.active and subscription.id not in self._watches:
                    await self._load(subscription)
            await asyncio.Event().wait()
        finally:
            for subscription_id in list(self._watches):
                self.unsubscribe(subscription_id)
            await self._board.close()

    def stop_taking(self) -> None:
        self._taking = False

    # --- subscriptions --------------------------------------------------------------

    def check(self, subscription_id: str, given: dict[str, Any]) -> InputConfig:
        """Read the parameters, and see whether the pins are free.

        Raises:
            BuiltinError: naming what is wrong.
        """
        self._board.check()
        config = parse_input(given)
        self._pins.check(_places(config), key=subscription_id)
        return config

    async def subscribe(self, subscription: Subscription) -> None:
        """Watch from now on, in place of what its id had before.

        Raises:
            BuiltinError: a pin is held by another, or the board says no.
        """
        self.unsubscribe(subscription.id)
        config = self.check(subscription.id, subscription.config)
        text = f"trigger /{subscription.id} ({config.device})"
        holder = Holder(subscription.id, subscription.namespace, text)
        self._pins.claim(_places(config), holder)
        tell = self._teller(subscription.id, config)
        try:
            watch = await self._board.call(lambda board: Watch(board, config, tell))
        except BaseException:
            self._pins.release(subscription.id)
            raise
        self._watches[subscription.id] = watch

    def unsubscribe(self, subscription_id: str) -> None:
        self._unusable.pop(subscription_id, None)
        watch = self._watches.pop(subscription_id, None)
        if watch is not None:
            self._pins.release(subscription_id)
            self._board.later(watch.close)

    def status(self, subscription_id: str) -> dict[str, Any]:
        if subscription_id in self._unusable:
            return {"state": "unusable", "error": self._unusable[subscription_id]}
        watching = subscription_id in self._watches
        return {"state": "watching" if watching else "paused"}

    def watch_at(self, place: str) -> Watch | None:
        """The open device of a trigger that holds a pin."""
        holder = self._pins.holder(place)
        return None if holder is None else self._watches.get(holder.key)

    def health(self) -> dict[str, Any]:
        return {
            **self._board.health(),
            "pins": self._pins.health(),
            "fired": self.fired,
            "waiting": len(self._waiting),
            "dropped": self.dropped,
            "unusable": [
                {"id": one, "error": error} for one, error in self._unusable.items()
            ],
        }

    async def _load(self, subscription: Subscription) -> None:
        try:
            await self.subscribe(subscription)
        except BuiltinError as error:
            # No GPIO here any more, or other pins: shown, and no reason to stop.
            self._unusable[subscription.id] = str(error)
            log.error("%s: %s", subscription.id, error)  # noqa: TRY400 no fault of ours

    # --- events ---------------------------------------------------------------------

    def _teller(
        self, subscription_id: str, config: InputConfig
    ) -> Callable[[str, float, float], None]:
        """What a device's threads call: one hop, with all that the event is."""
        loop = asyncio.get_running_loop()
        constant: dict[str, Any] = {
            "device": config.device,
            "pins": list(config.pins.values()),
        }
        if config.device == "adc":
            constant["channel"] = config.options["channel"]

        def tell(event: str, value: float, time_ms: float) -> None:
            happened = {"event": event, "value": value, "time": round(time_ms, 3)}
            payload = {**constant, **happened}
            try:
                loop.call_soon_threadsafe(self._take, subscription_id, payload)
            except RuntimeError:  # the loop has ended: nobody watches any more
                return

        return tell

    def _take(self, subscription_id: str, payload: dict[str, Any]) -> None:
        if subscription_id not in self._watches or not self._taking:
            return
        where = ",".join(map(str, payload["pins"])) or payload.get("channel")
        event = Event(
            subscription=subscription_id,
            payload=_encode(payload),
            origin=f"gpio:{where}:{payload['event']}",
        )
        if self._waiting:  # not before those that came earlier
            self._wait(event)
        else:
            self._offer(event)

    def _offer(self, event: Event) -> None:
        self._sink(event).add_done_callback(partial(self._settled, event))

    def _settled(self, event: Event, done: asyncio.Future[Receipt]) -> None:
        receipt = Receipt.REFUSED if done.cancelled() else done.result()
        if receipt is Receipt.REFUSED:
            self._wait(event)
            return
        self.fired += 1
        if receipt is Receipt.UNWANTED and not self._exists(event.subscription):
            self._give_up(event.subscription)

    def _give_up(self, subscription_id: str) -> None:
        """A trigger that was deleted behind the feed's back keeps no pin."""
        if subscription_id in self._watches:
            self.unsubscribe(subscription_id)
            self._unusable[subscription_id] = "the trigger is gone"

    def _wait(self, event: Event) -> None:
        self._waiting.append(event)
        if len(self._waiting) > WAITING_MOST:
            self._waiting.popleft()
            self.dropped += 1
        if self._retrying is None:
            loop = asyncio.get_running_loop()
            self._retrying = loop.call_later(RETRY_S, self._retry)

    def _retry(self) -> None:
        """Offer all that waits; what is refused again waits again, in order."""
        self._retrying = None
        if not self._taking:
            return
        again, self._waiting = self._waiting, deque()
        for event in again:
            self._offer(event)


def _places(config: InputConfig) -> list[str]:
    return places(config.pins.values(), config.place)
