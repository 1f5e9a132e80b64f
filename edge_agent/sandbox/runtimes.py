"""Which kinds can run here: the installed interpreters and the names they answer to.

One interpreter per family is probed once, by running it. Every `python:3.x` and
`nodejs:N` maps to what is installed: a concrete kind such as `python:3.11` names it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent import settings

LAUNCHERS = Path(__file__).parent / "launchers"
PROBE_TIMEOUT_S = 20.0

#: Asked of a Python: its version, the paths that -S leaves out, what it needs to see,
#: and the launcher's modules compiled for it.
_ASK_PYTHON = """
import json, os, py_compile, sys
never = py_compile.PycInvalidationMode.UNCHECKED_HASH
target, *sources = sys.argv[1:]
for source in sources:
    name = os.path.basename(source)
    compiled = os.path.join(target, name + "c")
    py_compile.compile(source, compiled, name, True, 2, never)
    os.chmod(compiled, 0o644)
library = os.path.dirname(os.__file__)
ours = [p for p in sys.path if os.path.dirname(p) != library and p != library]
packages = [p for p in ours if os.path.isdir(p)]
roots = [sys.base_prefix, sys.prefix]
print(json.dumps([list(sys.version_info[:2]), packages, roots, sys.executable]))
"""
_ASK_NODE = "console.log(JSON.stringify([process.versions.node, process.execPath]))"
_FAMILY_NAMES = {
    "python": ("python:3", *(f"python:3.{minor}" for minor in range(9, 15))),
    "nodejs": tuple(f"nodejs:{major}" for major in range(14, 26, 2)),
}
_ACCEPTED = {
    "python": re.compile(r"python:(default|3|3\.\d{1,2})"),
    "nodejs": re.compile(r"nodejs:(default|\d{1,2})"),
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """One installed language: how its launcher is started.

    `roots` must be visible to the interpreter; `launcher` is a file's name in the
    factory's folder; `packages` are folders of modules that the launcher adds.
    """

    kind: str
    interpreter: str
    roots: tuple[str, ...]
    launcher: str
    packages: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        return self.kind.partition(":")[0]


@dataclass(frozen=True, slots=True)
class KindEntry:
    """One line of the manifest of GET / (A14)."""

    kind: str
    default: bool
    runs_on: str


@dataclass(frozen=True, slots=True)
class Runtimes:
    """What was found, and a finding for each interpreter that was not."""

    found: tuple[Runtime, ...]
    findings: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(runtime.kind for runtime in self.found)

    def get(self, kind: str) -> Runtime | None:
        return next((r for r in self.found if r.kind == kind), None)

    def resolve(self, kind: str) -> str | None:
        """The concrete kind that serves `kind`; None when nothing does."""
        for runtime in self.found:
            if runtime.kind == kind or _ACCEPTED[runtime.family].fullmatch(kind):
                return runtime.kind
        return None

    @property
    def manifest(self) -> dict[str, tuple[KindEntry, ...]]:
        """Family -> kinds that are accepted, the installed one first and default."""
        return {runtime.family: _entries(runtime) for runtime in self.found}

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every kind that an action may name, for the answer A59."""
        return tuple(e.kind for entries in self.manifest.values() for e in entries)


def _entries(runtime: Runtime) -> tuple[KindEntry, ...]:
    names = [runtime.kind, f"{runtime.family}:default", *_FAMILY_NAMES[runtime.family]]
    return tuple(
        KindEntry(name, default=name == runtime.kind, runs_on=runtime.kind)
        for name in dict.fromkeys(names)
    )


def find_runtimes(wanted: settings.Runtimes, folder: Path) -> Runtimes:
    """Probe the interpreters, side by side; blocks for as long as they take.

    Args:
        wanted: the settings' section.
        folder: where launchers are put for the sandboxes to read.
    """
    with ThreadPoolExecutor(2) as pool:
        python = pool.submit(_try, _find_python, wanted.python.interpreter, folder)
        node = pool.submit(_try, _find_node, wanted.nodejs.interpreter, folder)
        results = [python.result(), node.result()]
    return Runtimes(
        tuple(r for r in results if isinstance(r, Runtime)),
        tuple(r for r in results if isinstance(r, str)),
    )


def _try(find: Any, interpreter: str, folder: Path) -> Runtime | str:
    try:
        found: Runtime = find(interpreter, folder)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return f"{interpreter} does not run: {_reason(error)}"
    return found


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None)
    return (said or b"").decode(errors="replace").strip() or str(error)


def _find_python(interpreter: str, folder: Path) -> Runtime:
    sources = sorted(map(str, LAUNCHERS.glob("python*.py")))
    command = [interpreter, "-I", "-B", "-c", _ASK_PYTHON, str(folder), *sources]
    version, packages, roots, executable = _ask(command)
    return Runtime(
        kind=f"python:{version[0]}.{version[1]}",
        interpreter=executable,
        roots=tuple(roots),
        launcher="python.pyc",
        packages=tuple(packages),
    )


def _find_node(interpreter: str, folder: Path) -> Runtime:
    version, executable = _ask([interpreter, "-e", _ASK_NODE])
    launcher = folder / "node.js"
    launcher.write_bytes((LAUNCHERS / "node.js").read_bytes())
    launcher.chmod(0o644)
    return Runtime(
        kind=f"nodejs:{version.split('.')[0]}",
        interpreter=executable,
        roots=(str(Path(executable).parent.parent),),
        launcher=launcher.name,
    )


def _ask(command: Sequence[str]) -> Any:
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        timeout=PROBE_TIMEOUT_S,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    return json.loads(done.stdout)
