"""Which room may import which, and what a file may look like.

The table is the one of the design: a room's own modules and those named here. It is
checked over every import statement, those inside functions included.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("edge_agent", "controller", "loadtests")
MOST_LINES = 400
MOST_FUNCTION_LINES = 60
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}

# room of edge_agent -> what else of edge_agent it may import
ROOMS: dict[str, set[str]] = {
    "model": set(),
    "settings": {"model"},
    "store": {"model", "settings"},
    "telemetry": {"model", "settings"},
    "sandbox": {"model", "settings"},
    "events": {"model", "settings"},
    "pool": {"model", "settings", "sandbox.base"},
    "engine": {"model", "settings", "store", "pool", "telemetry"},
    "api": {"model", "settings", "engine", "store", "telemetry"},
}
COMPOSITION = {"app", "adapters", "report", "senses", "cli", "__main__", "__init__"}
COMPOSITION |= {
    "allocator",
    "announcing",
    "keys",
    "listening",
    "systemd",
    "admin",
    "users",
}
CONTROLLER_MAY = {"model", "events.base", "events.mapping", "events.mqtt"}
# `import edge_agent` itself, its place and its version, is everybody's.
ROOT_PACKAGE = {"", "__version__"}
PACKAGES_OF_MODEL = {"msgspec"}
PACKAGES_OF_LOADTESTS = {"locust", "gevent", "loadtests"}


def files_of(*tops: str) -> list[Path]:
    return sorted(
        path.relative_to(ROOT)
        for top in tops
        for path in (ROOT / top).rglob("*.py")
        if "node_modules" not in path.parts
    )


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text(), filename=str(file))


def package_of(file: Path) -> str:
    """`edge_agent/pool/policy.py` and `edge_agent/pool/__init__.py`: edge_agent.pool."""
    return ".".join(file.parent.parts)


def imports_of(file: Path) -> Iterator[str]:
    """Dotted names; `from a import b` gives a.b, since b may be a module."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, package_of(file))
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def within(name: str, allowed: set[str]) -> bool:
    """Is `a.b.c` one of the allowed modules, or something inside one?"""
    return any(name == module or name.startswith(f"{module}.") for module in allowed)


def of_agent(name: str) -> str | None:
    """`edge_agent.pool.policy` -> `pool.policy`; None for what is not the agent's."""
    top, _, rest = name.partition(".")
    return rest if top == "edge_agent" else None


def test_the_table_names_every_room_of_the_agent() -> None:
    rooms = {file.parts[1].removesuffix(".py") for file in files_of("edge_agent")}

    assert rooms - COMPOSITION <= ROOMS.keys()


@pytest.mark.parametrize("file", files_of("edge_agent"), ids=str)
def test_a_room_of_the_agent_imports_only_what_its_row_allows(file: Path) -> None:
    room = file.parts[1].removesuffix(".py")
    allowed = ROOMS.get(room, set()) | {room}
    inside = [name for name in map(of_agent, imports_of(file)) if name is not None]
    wrong = [name for name in inside if not within(name, allowed | ROOT_PACKAGE)]

    assert room in COMPOSITION or not wrong


@pytest.mark.parametrize("file", files_of("edge_agent"), ids=str)
def test_the_agent_imports_neither_the_controller_nor_the_load_tests(
    file: Path,
) -> None:
    tops = {name.partition(".")[0] for name in imports_of(file)}

    assert not tops & {"controller", "loadtests", "tests"}


@pytest.mark.parametrize("file", files_of("edge_agent/model"), ids=str)
def test_the_model_needs_only_the_standard_library_and_msgspec(file: Path) -> None:
    tops = {name.partition(".")[0] for name in imports_of(file)}

    assert tops <= sys.stdlib_module_names | PACKAGES_OF_MODEL | {"edge_agent"}


@pytest.mark.parametrize("file", files_of("controller"), ids=str)
def test_the_controller_knows_only_the_model_and_the_events_of_the_agent(
    file: Path,
) -> None:
    inside = [name for name in map(of_agent, imports_of(file)) if name is not None]
    allowed = CONTROLLER_MAY | ROOT_PACKAGE
    wrong = [name for name in inside if not within(name, allowed)]
    tops = {name.partition(".")[0] for name in imports_of(file)}

    assert not wrong
    assert not tops & {"loadtests", "tests"}


@pytest.mark.parametrize("file", files_of("loadtests"), ids=str)
def test_the_load_tests_need_only_locust_and_the_standard_library(file: Path) -> None:
    # Locust imports the scenarios of a folder as top-level modules.
    siblings = {path.stem for path in (ROOT / "loadtests").glob("*.py")}
    tops = {name.partition(".")[0] for name in imports_of(file)}

    assert tops <= sys.stdlib_module_names | PACKAGES_OF_LOADTESTS | siblings


@pytest.mark.parametrize("file", files_of(*PRODUCT), ids=str)
def test_a_file_is_named_after_its_noun_and_is_short(file: Path) -> None:
    lines = len((ROOT / file).read_text().splitlines())

    assert not NAMELESS & {*file.parts[:-1], file.stem}
    assert lines <= MOST_LINES


@pytest.mark.parametrize("file", files_of(*PRODUCT), ids=str)
def test_a_function_is_one_step(file: Path) -> None:
    functions = (
        node
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    too_long = {
        node.name: length
        for node in functions
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MOST_FUNCTION_LINES
    }

    assert not too_long
