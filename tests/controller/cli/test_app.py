"""The command line as a whole: help, versions, exit codes, what goes where."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from controller.cli.app import app
from edge_agent import __version__

#: Of a processor; a busy machine shows more on the clock.
HELP_CPU_S = 0.6


def commands(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        yield (*path, name), command


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    bare = [p.name for p in command.params if not getattr(p, "help", None)]
    assert bare == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_shows_its_help(path: tuple[str, ...], edgectl: Any) -> None:
    said = edgectl(*path, "--help")
    assert said.code == 0
    assert "Usage: edgectl" in said.out


@pytest.mark.parametrize("path", [p for p in ALL if p[-1] in {"list", "get"}])
def test_every_command_that_reads_has_json(path: tuple[str, ...]) -> None:
    assert "json_" in {p.name for p in ALL[path].params}


def test_the_version_is_the_agents(edgectl: Any) -> None:
    said = edgectl("--version")
    assert (said.code, said.out) == (0, f"edgectl {__version__}\n")


def test_help_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-m", "controller", "--help"]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert after - before < HELP_CPU_S


@pytest.mark.parametrize(
    "heavy", ["aiohttp", "paho", "yaml", "ansible", "locust", "cryptography"]
)
def test_parsing_loads_nothing_heavy(heavy: str) -> None:
    code = f"import sys, controller.cli.app; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["action", "put"], "Missing argument"),
        (["action", "list", "--limit", "x"], "--limit"),
        (["action", "list"], "no target"),
        (["action", "list", "--target", "http://h", "--auth", "x"], "uuid:key"),
        (["action", "list", "--fleet", "/nowhere"], "/nowhere: no such file"),
        (["local", "up", "--nodes", "0"], "--nodes"),
        (["demo", "--points", "many"], "--points takes a number"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    edgectl: Any, arguments: list[str], said: str
) -> None:
    answer = edgectl(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("error: ")
    assert said in answer.err


def test_a_host_that_is_not_there_is_exit_code_1(edgectl: Any) -> None:
    said = edgectl("action", "list", "--target", "http://127.0.0.1:9", "--auth", "u:k")
    assert said.code == 1
    assert "cannot connect" in said.err
    assert "Traceback" not in said.err


def test_debug_shows_the_traceback(edgectl: Any) -> None:
    said = edgectl("action", "list", "--debug")
    assert said.code == 2
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1].startswith("error: no target")


def test_without_its_extra_it_names_it() -> None:
    code = (
        "import sys; sys.modules['typer'] = None; sys.argv = ['edgectl'];"
        "from controller.__main__ import main; main()"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "edgectl needs the extra: pip install 'edgewhisk[controller]'" in told.stderr
    assert "Traceback" not in told.stderr


def test_completion_is_offered(edgectl: Any) -> None:
    assert "--install-completion" in edgectl("--help").out
