"""Output devices of gpiozero at work: they are set, blink and pulse. In its thread."""

from __future__ import annotations

from typing import Any

from edge_agent.events.base import BuiltinError
from edge_agent.events.gpio_board import Board
from edge_agent.events.gpio_outputs import BLINK, PULSE, TOGGLE, OutputConfig

_CLASSES = {
    "digital": "DigitalOutputDevice",
    "led": "LED",
    "buzzer": "Buzzer",
    "pwmled": "PWMLED",
    "rgbled": "RGBLED",
    "tonalbuzzer": "TonalBuzzer",
    "servo": "Servo",
    "motor": "Motor",
}
#: Without a pin of a kind that has an active level.
_LEVELLESS = ("tonalbuzzer", "servo", "motor")
#: Hertz that a tonal buzzer reaches: two octaves around its middle.
_OCTAVES = 3


class Drive:
    """One output device, open. Made, set and closed in the board's thread."""

    def __init__(self, board: Board, config: OutputConfig) -> None:
        self.config = config
        self._zero = board.zero
        made: dict[str, Any] = {**config.pins, "pin_factory": board.factory}
        if config.device not in _LEVELLESS:
            made["active_high"] = config.active_high
        if config.device == "tonalbuzzer":
            made["octaves"] = _OCTAVES
        self.device: Any = getattr(board.zero, _CLASSES[config.device])(**made)

    def set(self, config: OutputConfig) -> Any:
        """What the device shows then."""
        self.config = config
        if config.pattern == BLINK:
            self._pattern(self.device.blink)
        elif config.pattern == PULSE:
            self._pattern(self.device.pulse)
        elif config.value == TOGGLE:
            self.device.toggle()
        elif config.device == "tonalbuzzer":
            self._play(config.value)
        else:
            self.device.value = config.value
        return self.value()

    def value(self) -> Any:
        value = self.device.value
        if config_is_colour(self.config):
            return [round(part, 3) for part in value]
        if self.config.device == "tonalbuzzer":
            return None if self.device.tone is None else self.device.tone.frequency
        return value

    def close(self) -> None:
        self.device.close()

    def _pattern(self, begin: Any) -> None:
        more: dict[str, Any] = dict(self.config.times)
        if config_is_colour(self.config) and self.config.value is not None:
            more["on_color"] = self.config.value
        begin(**more, n=self.config.count, background=True)

    def _play(self, value: Any) -> None:
        if value is None:
            self.device.stop()
        elif isinstance(value, str):
            self.device.play(self._zero.tones.Tone.from_note(value))
        else:
            self.device.play(self._zero.tones.Tone.from_frequency(value))


def config_is_colour(config: OutputConfig) -> bool:
    return config.device == "rgbled"


class Drives:
    """Owns the output devices that are open, by their pins. Only in the board's thread.

    They outlive the action that set them.
    """

    def __init__(self) -> None:
        self._drives: dict[frozenset[int], Drive] = {}

    def write(self, board: Board, config: OutputConfig) -> Any:
        """Set the device at these pins, opening it the first time.

        Raises:
            BuiltinError: the pins are open as something else.
        """
        key = frozenset(config.pins.values())
        drive = self._drives.get(key)
        if drive is None:
            drive = self._drives[key] = Drive(board, config)
        elif not _is_same(drive.config, config):
            pins = ", ".join(f"GPIO{pin}" for pin in sorted(key))
            raise BuiltinError(
                f"{pins} is open as {drive.config.device}; close it first"
            )
        return drive.set(config)

    def at(self, pin: int) -> Drive | None:
        return next((one for key, one in self._drives.items() if pin in key), None)

    def close(self, pins: set[int]) -> None:
        """Close the devices that have one of the pins."""
        for key in [key for key in self._drives if key & pins]:
            self._drives.pop(key).close()

    def close_all(self) -> None:
        while self._drives:
            self._drives.popitem()[1].close()


def _is_same(one: OutputConfig, other: OutputConfig) -> bool:
    return (one.device, one.pins, one.active_high) == (
        other.device,
        other.pins,
        other.active_high,
    )
