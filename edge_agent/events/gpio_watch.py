"""Input devices of gpiozero at work: what happens at a pin becomes a word and a value.

All of this runs in gpiozero's threads, or in a sampler's, never on the event loop:
`tell` is called there with the event's name, its value and the wall time in ms, and is
the one hop into the loop. This module and `gpio_drive` are the only ones that know
gpiozero's objects.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from edge_agent.events.gpio_board import Board
from edge_agent.events.gpio_inputs import SINGLE_CHANNEL, InputConfig
from edge_agent.events.threshold import Crossing, Threshold

log = logging.getLogger(__name__)

Tell = Callable[[str, float, float], None]

#: A sensor that averages begins with guesses; its first values are left out.
WARM_UP_LENGTHS = 2
#: Between two pings of a distance sensor, and between two charges of a light sensor.
PING_S = 0.06

#: Event -> the attribute of gpiozero's device that takes its callback.
_CALLBACKS = {
    "pressed": "when_pressed",
    "released": "when_released",
    "held": "when_held",
    "active": "when_activated",
    "inactive": "when_deactivated",
    "motion": "when_motion",
    "no_motion": "when_no_motion",
    "line": "when_line",
    "no_line": "when_no_line",
    "clockwise": "when_rotated_clockwise",
    "counter_clockwise": "when_rotated_counter_clockwise",
}


class Watch:
    """One input device, open. Made and closed in the board's thread."""

    def __init__(self, board: Board, config: InputConfig, tell: Tell) -> None:
        self.config = config
        self._tell = tell
        self.device = open_input(board, config)
        self._sampler: _Sampler | None = None
        if config.kind.is_measured:
            self._sampler = _Sampler(self)
            self._sampler.start()
        else:
            self._listen()

    def close(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()
        else:
            for event in self.config.events:
                setattr(self.device, _CALLBACKS[event], None)
        self.device.close()

    def value(self) -> float:
        """What the device shows now; see `gpio_inputs`."""
        return value_of(self.config, self.device)

    def tell(self, event: str, value: float) -> None:
        if event in self.config.events:
            self._tell(event, value, time.time() * 1000)

    def _listen(self) -> None:
        for event in self.config.events:
            setattr(self.device, _CALLBACKS[event], self._callback(event))

    def _callback(self, event: str) -> Callable[[], None]:
        def fired() -> None:
            if event == "held":
                value = float(self.device.held_time or 0.0)
            else:
                value = self.value()
            self.tell(event, value)

        return fired


class _Sampler(threading.Thread):
    """Looks at a device that measures, as often as it was asked to."""

    def __init__(self, watch: Watch) -> None:
        options = watch.config.options
        super().__init__(name=f"gpio-{watch.config.device}", daemon=True)
        self._watch = watch
        self._every_s = 1 / options["rate_hz"]
        self._warm_up_s = WARM_UP_LENGTHS * PING_S * options.get("queue_len", 0)
        self._threshold = Threshold(
            options["high"], options["low"], delta=options["delta"]
        )
        self._stopped = threading.Event()
        self._failed = False

    def run(self) -> None:
        wait_s = self._warm_up_s
        while not self._stopped.wait(wait_s):
            wait_s = self._every_s
            try:
                self._look()
            except Exception:  # a sensor that fails now may work again
                if not self._failed and not self._stopped.is_set():
                    log.exception("%s cannot be read", self.name)
                self._failed = True
            else:
                self._failed = False

    def _look(self) -> None:
        value = self._watch.value()
        if value == 0.0 and self._watch.config.device == "distance":
            return  # no echo yet
        for crossing in self._threshold.update(value):
            self._watch.tell(self._event(crossing), value)

    def stop(self) -> None:
        self._stopped.set()
        self.join(self._every_s + 1)

    def _event(self, crossing: Crossing) -> str:
        kind = self._watch.config.kind
        if crossing is Crossing.CHANGED:
            return "changed"
        return kind.risen if crossing is Crossing.RISEN else kind.fallen


def open_input(board: Board, config: InputConfig) -> Any:
    """The device; only in the board's thread."""
    made = {**_arguments(config), "pin_factory": board.factory}
    return getattr(board.zero, _class(config))(**made)


def value_of(config: InputConfig, device: Any) -> float:
    match config.device:
        case "distance":
            return float(device.distance)
        case "rotary":
            return int(device.steps)
        case "light" | "adc":
            return float(device.value)
        case "line":  # gpiozero's line sensor is active on white
            return int(not device.is_active)
        case _:
            return int(device.is_active)


def _class(config: InputConfig) -> str:
    classes = {
        "button": "Button",
        "digital": "DigitalInputDevice",
        "motion": "MotionSensor",
        "line": "LineSensor",
        "light": "LightSensor",
        "distance": "DistanceSensor",
        "rotary": "RotaryEncoder",
    }
    return classes.get(config.device) or str(config.options["chip"])


def _arguments(config: InputConfig) -> dict[str, Any]:
    """Ours to gpiozero's: seconds, and its words."""
    given = config.options
    more: dict[str, Any] = {}
    names: tuple[str, ...]
    match config.device:
        case "button":
            more = {"hold_time": (given["hold_ms"] or 1000) / 1000, **_bounce(given)}
            names = ("pull_up", "hold_repeat")
        case "digital":
            more = {"active_state": given["active_high"], **_bounce(given)}
            names = ("pull_up",)
        case "motion" | "line":
            more = {"sample_rate": given["rate_hz"]}
            names = ("pull_up", "threshold", "queue_len")
        case "light":
            more = {"charge_time_limit": given["charge_ms"] / 1000, "partial": True}
            names = ("queue_len",)
        case "distance":
            more = {"max_distance": given["max_m"], "partial": True}
            names = ("queue_len",)
        case "rotary":
            more = _bounce(given)
            names = ("max_steps", "wrap")
        case _:
            more = {"device": given["select"]}
            single = given["chip"] in SINGLE_CHANNEL
            names = ("port",) if single else ("port", "channel")
    return {**config.pins, **{name: given[name] for name in names}, **more}


def _bounce(given: dict[str, Any]) -> dict[str, Any]:
    return {"bounce_time": given["bounce_ms"] / 1000 if given["bounce_ms"] else None}
