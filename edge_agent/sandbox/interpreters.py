"""Finds what is installed: each interpreter is run once, its launcher put in place.

A family without a launcher of our own protocol (`native`, and those of a user's
manifest) is run by the Python launcher `python_loop.py`, which hands over to it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from edge_agent import settings
from edge_agent.sandbox.manifest import (
    BUILT_IN,
    Families,
    Family,
    KindError,
    check_own,
    read_families,
)
from edge_agent.sandbox.runtimes import LOOP, Runtime, Runtimes

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
NATIVE, PYTHON = "native", "python"
_NUMBERS = re.compile(r"\d+(?:\.\d+)*")


def find_runtimes(
    wanted: settings.Runtimes, folder: Path, *, packages: Path | None = None
) -> Runtimes:
    """Probe the interpreters, side by side; blocks for as long as they take.

    Args:
        wanted: the settings' section.
        folder: where launchers are put for the sandboxes to read.
        packages: a folder that Python's sandboxes see, too.
    """
    families = read_families(BUILT_IN)
    own, findings = _own_families(Path(wanted.kinds))
    with ThreadPoolExecutor(4) as pool:
        python = pool.submit(_try, _find_python, wanted.python.interpreter, folder)
        node = pool.submit(
            _try,
            partial(_find_node, modules=wanted.nodejs.modules),
            wanted.nodejs.interpreter,
            folder,
        )
        others = [
            pool.submit(
                _try, partial(_find_own, name, family), family.interpreter, folder
            )
            for name, family in own.items()
        ]
        first = [python.result(), node.result()]
        rest = [other.result() for other in others]
    families |= own
    found = [r for r in first if isinstance(r, Runtime)]
    findings = [r for r in (*first, *rest) if isinstance(r, str)] + findings
    if packages is not None:
        found = [_seeing(packages, r) if r.family == PYTHON else r for r in found]
    of_python = next((r for r in found if r.family == PYTHON), None)
    if of_python is None:
        findings += [f"{name} needs a Python" for name in (NATIVE, *own)]
    else:
        loops = [r for r in rest if isinstance(r, Runtime)]
        found += [_with_loop(r, of_python) for r in (*_native(), *loops)]
    return Runtimes(
        tuple(replace(r, beside_mb=families[r.family].beside_mb) for r in found),
        tuple(findings),
        families,
        {**wanted.images, **_images(families)},
    )


def _images(families: Families) -> dict[str, str]:
    return {
        pattern: kind
        for family in families.values()
        for pattern, kind in family.images.items()
    }


def _own_families(folder: Path) -> tuple[Families, list[str]]:
    """Those of the user's folder, which need not be there, and what is wrong in it."""
    known = set(read_families(BUILT_IN))
    found: Families = {}
    findings = []
    for path in sorted(folder.glob("*.toml")):
        try:
            families = read_families(path)
            for name, family in families.items():
                check_own(name, family, path, known=known)
                known.add(name)
                found[name] = _with_folder(family, path.parent)
        except KindError as error:
            findings.append(str(error))
    return found, findings


def _with_folder(family: Family, folder: Path) -> Family:
    """Its launcher with the place where it lies, to be copied from."""
    return msgspec.structs.replace(family, launcher=str(folder / family.launcher))


def _seeing(folder: Path, runtime: Runtime) -> Runtime:
    return replace(runtime, roots=(*runtime.roots, str(folder)))


def _native() -> list[Runtime]:
    """Programs that need no interpreter; the last word is the mode of the loop."""
    modes = {NATIVE: "native", "native:loop": "loop", "native:exec": "exec"}
    return [
        Runtime(kind, "", (), LOOP, program=(mode, "exec"))
        for kind, mode in modes.items()
    ]


def _with_loop(runtime: Runtime, python: Runtime) -> Runtime:
    """Run by the loop's launcher in this Python."""
    roots = dict.fromkeys((*python.roots, *runtime.roots))
    return replace(runtime, interpreter=python.interpreter, roots=tuple(roots))


def _find_own(name: str, family: Family, interpreter: str, folder: Path) -> Runtime:
    """Ask for its version, and copy its launcher for the sandboxes to read."""
    done = _run([interpreter, *family.version])
    said = (done.stdout + done.stderr).decode(errors="replace")
    version = _NUMBERS.search(said)
    if version is None:
        raise ValueError(f"it tells no version: {said.strip()[:200]}")
    launcher = folder / f"{name}-{Path(family.launcher).name}"
    launcher.write_bytes(Path(family.launcher).read_bytes())
    launcher.chmod(0o755)
    variables = [f"{name}={value}" for name, value in family.environment.items()]
    numbers = version[0].split(".")[: family.version_parts]
    return Runtime(
        kind=f"{name}:{'.'.join(numbers)}",
        interpreter="",
        roots=(str(Path(interpreter).resolve().parent.parent),),
        launcher=LOOP,
        program=("launcher", family.source, interpreter, launcher.name, *variables),
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


def _find_node(interpreter: str, folder: Path, *, modules: Sequence[str]) -> Runtime:
    """`modules`: folders of modules; by default those that `npm -g` installs into."""
    version, executable = _ask([interpreter, "-e", _ASK_NODE])
    prefix = str(Path(executable).parent.parent)
    launcher = folder / "node.js"
    launcher.write_bytes((LAUNCHERS / "node.js").read_bytes())
    launcher.chmod(0o644)
    return Runtime(
        kind=f"nodejs:{version.split('.')[0]}",
        interpreter=executable,
        roots=(prefix, *modules),
        launcher=launcher.name,
        packages=tuple(modules or filter(_is_folder, _global_modules(prefix))),
    )


def _global_modules(prefix: str) -> list[str]:
    places = ("/usr/local/lib", f"{prefix}/lib")
    return [f"{place}/node_modules" for place in dict.fromkeys(places)]


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def _ask(command: Sequence[str]) -> Any:
    return json.loads(_run(command).stdout)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PROBE_TIMEOUT_S,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
