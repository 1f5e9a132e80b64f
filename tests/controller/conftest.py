"""A command line to call, and a real fleet to call it on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from controller.cli.app import app
from controller.local import LocalFleet

_OURS = (
    "OPENWHISK_APIHOST",
    "OPENWHISK_AUTH",
    "OPENWHISK_SYSTEM_AUTH",
    "WSK_CONFIG_FILE",
    "EDGEWHISK_LOCAL_DIR",
    "XDG_DATA_HOME",
    "EDGEWHISK_INVENTORY",
)


class Said:
    """What a call said: `code`, `out` (the answer), `err` (the talk)."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit {self.code}\nstdout: {self.out}\nstderr: {self.err}"


Edgectl = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and no target in the environment."""
    for name in _OURS:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def edgectl(home: Path) -> Edgectl:
    """`edgectl("action", "list", "--json")` in this process."""

    def call(*arguments: object, stdin: bytes | None = None) -> Said:
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
        return Said(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def fleet(home: Path) -> Iterator[LocalFleet]:
    """Two real nodes without broker where `edgectl` finds them by itself."""
    fleet = LocalFleet(home / ".local/share/edgewhisk/local")
    fleet.up(2, broker=False)
    yield fleet
    fleet.down()
