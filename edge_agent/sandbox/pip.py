"""Runs pip to put wheels into a folder: in a sandbox of its own where there are any."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edge_agent import settings
from edge_agent.sandbox import bwrap
from edge_agent.sandbox.bounds import Bounds
from edge_agent.sandbox.packages import PackagesError
from edge_agent.sandbox.probe import RLIMITS, Probe
from edge_agent.sandbox.runtimes import Runtime

TIMEOUT_S = 300.0
LARGEST_FILE = 512 << 20
_WHEELS, _TOOLS, _RESULT = (f"{bwrap.ACTION}/{n}" for n in ("wheels", "tools", "new"))
_RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from pip._internal.cli.main import main
sys.exit(main(sys.argv[2:]))
"""
_OPTIONS = (
    *("install", "--no-index", "--only-binary", ":all:", "--no-cache-dir"),
    *("--disable-pip-version-check", "--no-input", "--no-warn-script-location"),
    *("--no-warn-conflicts", "--root-user-action", "ignore", "--quiet"),
)
_NOT_FOUND = "No matching distribution found for "


class Pip:
    """A `Build` (see packages.py) for one Python. `wheels` is the node's folder."""

    def __init__(
        self,
        runtime: Runtime,
        wheels: str,
        *,
        probe: Probe,
        sandbox: settings.Sandboxing,
        folders: bwrap.Folders,
    ) -> None:
        self._runtime = runtime
        self._wheels = wheels
        self._probe = probe
        self._sandbox = sandbox
        self._folders = folders

    def __call__(self, lines: Sequence[str], folder: Path) -> None:
        tools = self._tools()
        if not Path(self._wheels).is_dir():
            raise PackagesError(
                f"this node's folder of wheels is missing: {self._wheels}"
            )
        if self._probe.level == RLIMITS:
            command = self._command(lines, self._wheels, str(tools.parent), str(folder))
        else:
            command = [
                *(self._probe.bwrap, *self._held(tools, folder), "--"),
                *self._command(lines, _WHEELS, _TOOLS, _RESULT),
            ]
        self._run(command, home=str(folder))

    def _tools(self) -> Path:
        """The folder of pip itself: the agent's, or that of the actions' Python.

        Raises:
            PackagesError: neither has one.
        """
        spec = importlib.util.find_spec("pip")
        if spec is not None and spec.submodule_search_locations:
            return Path(spec.submodule_search_locations[0])
        for packages in self._runtime.packages:
            if (Path(packages) / "pip").is_dir():
                return Path(packages) / "pip"
        raise PackagesError("this node has no pip (apt-get install python3-pip)")

    def _held(self, tools: Path, folder: Path) -> list[str]:
        arguments = bwrap.arguments(
            self._probe, self._sandbox, self._runtime, self._folders, network=False
        )
        return [
            *arguments,
            *("--ro-bind", self._wheels, _WHEELS),
            *("--ro-bind", str(tools), f"{_TOOLS}/pip"),
            *("--bind", str(folder), _RESULT),
            # Wheels are unpacked there first; a sandbox's /tmp holds no large ones.
            *("--setenv", "TMPDIR", _RESULT),
        ]

    def _command(
        self, lines: Sequence[str], wheels: str, tools: str, result: str
    ) -> list[str]:
        bounds = Bounds(
            open_files=self._sandbox.open_files, file_bytes=LARGEST_FILE
        ).as_command()
        python = [self._runtime.interpreter, "-I", "-S", "-c", _RUN, tools]
        places = ["--find-links", wheels, "--target", result]
        return [*bounds, *python, *_OPTIONS, *places, *lines]

    def _run(self, command: Sequence[str], *, home: str) -> None:
        try:
            done = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                env={
                    "PATH": "/usr/local/bin:/usr/bin:/bin",
                    "HOME": home,
                    "TMPDIR": home,
                },
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise PackagesError(f"pip did not end well: {error}") from error
        if done.returncode:
            raise PackagesError(reason(done.stderr.decode(errors="replace")))


def reason(said: str) -> str:
    """What pip's errors come to, in a line."""
    errors = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    last = (errors or said.strip().splitlines() or ["pip failed"])[-1]
    text = last.removeprefix("ERROR: ")
    if text.startswith(_NOT_FOUND):
        wanted = text.removeprefix(_NOT_FOUND)
        return f"no wheel of this node's folder is {wanted}"
    return text
