"""The GPIO of this machine: gpiozero, its pin factory, and the one thread they live in.

gpiozero blocks here and there (a device opens a file, a sensor joins its thread), so
all that is asked of it is done in one thread, in order. It is imported when the first
device is opened: a node without GPIO does not pay for it, and one that lacks the
packages says so then.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from edge_agent.events.base import BuiltinError
from edge_agent.settings import Gpio

R = TypeVar("R")

#: A device that does not come or go within this is given up.
CALL_TIMEOUT_S = 10.0
OFF = "GPIO is switched off on this node: gpio.pin_factory is none"
MISSING = (
    "GPIO needs packages that are missing on this node ({name}); "
    "install them with: pip install 'edgewhisk[gpio]'"
)
_FACTORIES = {
    "lgpio": ("gpiozero.pins.lgpio", "LGPIOFactory"),
    "pigpio": ("gpiozero.pins.pigpio", "PiGPIOFactory"),
    "mock": ("gpiozero.pins.mock", "MockFactory"),
}


class Board:
    """Owns the thread and what lives in it. `zero` is the module gpiozero."""

    def __init__(self, settings: Gpio) -> None:
        self._settings = settings
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="gpio")
        self._factory: Any = None
        self._closers: list[Callable[[], None]] = []
        self.zero: Any = None

    @property
    def is_mock(self) -> bool:
        return self._settings.pin_factory == "mock"

    def check(self) -> None:
        """Raise BuiltinError where the settings say that there is no GPIO."""
        if self._settings.pin_factory == "none":
            raise BuiltinError(OFF)

    async def call(self, work: Callable[[Board], R]) -> R:
        """Do `work` in the thread.

        Raises:
            BuiltinError: there is no GPIO here, or it says no.
        """
        self.check()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await loop.run_in_executor(
                    self._executor, partial(self._do, work)
                )
        except RuntimeError as error:  # the thread takes nothing more
            raise BuiltinError("GPIO is closed: the agent stops") from error
        except TimeoutError as error:
            text = f"GPIO gave no answer in {CALL_TIMEOUT_S:g} s"
            raise BuiltinError(text) from error

    def later(self, work: Callable[[], None]) -> Future[None]:
        """Do `work` in the thread after all that was asked before."""
        return self._executor.submit(work)

    def before_close(self, work: Callable[[], None]) -> None:
        """Do `work` in the thread before the pins go."""
        self._closers.append(work)

    async def close(self) -> None:
        """Let go of every pin."""
        self.later(self._close)
        await asyncio.to_thread(self._executor.shutdown)

    def health(self) -> dict[str, Any]:
        return {
            "pin_factory": self._settings.pin_factory,
            "in_use": self._factory is not None,
        }

    @property
    def factory(self) -> Any:
        """The pin factory of gpiozero; only in the thread."""
        if self._factory is None:
            # Software SPI asks for the default one, whatever it is given.
            self._factory = self.zero.Device.pin_factory = self._make_factory()
        return self._factory

    def _do(self, work: Callable[[Board], R]) -> R:
        try:
            if self.zero is None:
                # lgpio puts a pipe there; a service's own folder may be read-only.
                os.environ.setdefault("LG_WD", tempfile.gettempdir())
                self.zero = importlib.import_module("gpiozero")
            return work(self)
        except ImportError as error:
            name = error.name or str(error)
            raise BuiltinError(MISSING.format(name=name)) from error
        except BuiltinError:
            raise
        except Exception as error:  # gpiozero's, lgpio's and the system's errors
            if isinstance(error, AssertionError | TypeError | AttributeError):
                raise  # a fault of ours
            raise BuiltinError(f"GPIO: {error}") from error

    def _make_factory(self) -> Any:
        module, name = _FACTORIES[self._settings.pin_factory]
        made = getattr(importlib.import_module(module), name)
        if self.is_mock:
            pins = importlib.import_module(module).MockPWMPin
            return made(pin_class=pins)
        return made()

    def _close(self) -> None:
        for closer in self._closers:
            closer()
        if self._factory is not None:
            self._factory.close()
            self._factory = self.zero.Device.pin_factory = None
