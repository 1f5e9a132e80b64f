"""What a node perceives without a broker: time, its pins, its own state. For `app`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from edge_agent.adapters import NodeSink, NodeTriggers
from edge_agent.engine.builtins import Builtin
from edge_agent.events.alarm_feed import ANNOTATIONS as ALARMS
from edge_agent.events.alarm_feed import AlarmsPackage
from edge_agent.events.alarms import AlarmSource
from edge_agent.events.clock import Clock
from edge_agent.events.gpio import GpioSource
from edge_agent.events.gpio_board import Board
from edge_agent.events.gpio_feed import ANNOTATIONS as GPIO
from edge_agent.events.gpio_feed import GpioPackage
from edge_agent.events.gpio_pins import Pins
from edge_agent.events.lifecycle import Feeds
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName
from edge_agent.settings import Settings
from edge_agent.store.store import Store
from edge_agent.telemetry.sensors import Sensors
from edge_agent.telemetry.traps import Traps

SENSORS = FullName("whisk.system", "sensors", "node")
SENSORS_ANNOTATIONS = {
    "description": "Temperature, throttling, load, memory, disk and clock of the node",
    "parameters": [],
    "sampleInput": {},
}


class Senses:
    """The sources of alarms and pins with their packages, and the sensors."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sink: NodeSink,
        *,
        folder: Path,
        feeds: Feeds,
    ) -> None:
        clock = Clock(wait=settings.alarms.wait_for_clock)
        board, pins = Board(settings.gpio), Pins()
        self._clock = clock
        self._sensors = Sensors(folder)
        self._traps = Traps(folder, pins=settings.gpio.pin_factory)
        state, triggers = store.sources, NodeTriggers(store)
        self._alarms = AlarmSource(state, sink, triggers, clock)
        self._gpio = GpioSource(board, pins, state, sink, exists=triggers.exists)
        self._alarms_package = AlarmsPackage(self._alarms, state, feeds=feeds)
        self._gpio_package = GpioPackage(self._gpio, board, pins, state, feeds=feeds)

    def work(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """What runs in the background while the node does."""
        yield "alarms", self._alarms.run()
        yield "gpio", self._gpio.run()

    def stop_taking(self) -> None:
        self._alarms.stop_taking()
        self._gpio.stop_taking()

    def builtins(self) -> Iterator[Builtin]:
        for name, feed in self._alarms_package.feeds.items():
            yield Builtin(name, feed, ALARMS[name.name])
        for name, call in self._gpio_package.actions.items():
            yield Builtin(name, call, GPIO[name.name])
        yield Builtin(SENSORS, self._read_sensors, SENSORS_ANNOTATIONS)

    def health(self) -> dict[str, Callable[[], Any]]:
        return {
            "alarms": self._alarms.health,
            "clock": self._clock.health,
            "gpio": self._gpio.health,
            "sensors": self._sensors.read,
            "traps": self._traps.read,
        }

    async def _read_sensors(self, _: Identity, __: dict[str, Any]) -> Any:
        sensors = await asyncio.to_thread(self._sensors.read)
        return {**sensors, "clock": self._clock.health()}
