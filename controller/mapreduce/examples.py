"""Where the examples are: in the wheel beside the controller, else in the checkout."""

from __future__ import annotations

from pathlib import Path

import controller

_CONTROLLER = Path(controller.__file__).parent


def example(name: str) -> Path:
    """The file `name` (`jobs/pi.py`) of the examples folder.

    Raises:
        FileNotFoundError: this installation has no such example.
    """
    for folder in (_CONTROLLER / "examples", _CONTROLLER.parent / "examples"):
        path = folder / name
        if path.is_file():
            return path
    raise FileNotFoundError(f"this installation has no example {name}")
