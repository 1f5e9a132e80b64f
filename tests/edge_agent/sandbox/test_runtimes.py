"""Which interpreters are here, and the names that they answer to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent import settings
from edge_agent.sandbox.interpreters import find_runtimes
from edge_agent.sandbox.runtimes import Runtime, Runtimes

PYTHON = Runtime("python:3.13", "/usr/bin/python3", ("/usr",), "python.pyc")
NODE = Runtime("nodejs:22", "/usr/bin/node", ("/usr",), "node.js")
NATIVE = Runtime("native", "/usr/bin/python3", ("/usr",), "python_loop.pyc")
SKELETON = replace(NATIVE, kind="native:exec")
IMAGES = {
    "openwhisk/nodejs6action": "nodejs:default",
    "openwhisk/action-nodejs-v*": "nodejs:default",
    "openwhisk/dockerskeleton": "native:exec",
    "me/left-alone": "",
}
BOTH = Runtimes((PYTHON, NODE, NATIVE, SKELETON), images=IMAGES)


@pytest.mark.parametrize(
    ("kind", "concrete"),
    [
        ("python:default", "python:3.13"),
        ("python:3", "python:3.13"),
        ("python:3.9", "python:3.13"),
        ("python:3.11", "python:3.13"),
        ("python:3.13", "python:3.13"),
        ("nodejs:default", "nodejs:22"),
        ("nodejs:6", "nodejs:22"),
        ("nodejs:20", "nodejs:22"),
        ("python:2", None),
        ("python:2.7", None),
        ("python", None),
        ("python:", None),
        ("python:4", None),
        ("python:3.x", None),
        ("python:3.11.2", None),
        ("nodejs", None),
        ("nodejs:18.1", None),
        ("ruby:2.5", None),
        ("native", "native"),
        ("native:default", "native"),
        ("native:exec", "native:exec"),
        ("native:other", None),
        ("blackbox", None),
        ("blackbox:openwhisk/nodejs6action", "nodejs:22"),
        ("blackbox:openwhisk/action-nodejs-v14:1.17.0", "nodejs:22"),
        ("blackbox:docker.io/openwhisk/dockerskeleton:latest", "native:exec"),
        ("blackbox:localhost:5000/openwhisk/dockerskeleton@sha256:12", "native:exec"),
        ("blackbox:me/left-alone", None),
        ("blackbox:me/dockerskeleton", None),
        ("blackbox:", None),
        ("", None),
    ],
)
def test_kinds_map_to_what_is_installed(kind: str, concrete: str | None) -> None:
    assert BOTH.resolve(kind) == concrete


def test_a_language_that_is_not_installed_serves_nothing() -> None:
    only = Runtimes((PYTHON,), ("node does not run",))
    assert only.resolve("nodejs:20") is None
    assert {entry.family for entry in only.entries} == {"python"}


def test_each_family_has_one_default_and_it_is_the_first() -> None:
    families = {entry.family: entry for entry in reversed(BOTH.entries)}
    assert list(reversed(families)) == ["python", "nodejs", "native"]
    assert [e for e in BOTH.entries if e.default] == [*reversed(families.values())]
    assert len({entry.kind for entry in BOTH.entries}) == len(BOTH.entries)


def test_every_kind_that_is_listed_resolves_to_what_it_is_said_to_run_on() -> None:
    assert all(BOTH.resolve(e.kind) == e.runs_on for e in BOTH.entries)
    assert {"python:3", "nodejs:6", "native"} <= {e.kind for e in BOTH.entries}


@pytest.mark.parametrize("installed", ["nodejs:18", "nodejs:20", "nodejs:22"])
def test_b5_the_default_of_node_is_upstreams_whichever_is_installed(
    installed: str,
) -> None:
    node = Runtimes((replace(NODE, kind=installed),))
    (default,) = [entry for entry in node.entries if entry.default]
    assert (default.kind, default.runs_on) == ("nodejs:20", installed)
    assert installed in {entry.kind for entry in node.entries}


def test_python_2_is_refused_with_the_reason() -> None:
    assert "Python 2 has been without updates" in BOTH.why_not("python:2")
    assert BOTH.why_not("python:2.7")
    assert not BOTH.why_not("python:4")
    assert not BOTH.why_not("cobol:1")


def test_what_is_missing_is_left_out_with_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no good >&2\nexit 3\n")
    broken.chmod(0o755)
    wanted = settings.Runtimes(
        python=settings.PythonRuntime(interpreter=str(broken)),
        nodejs=settings.NodeRuntime(interpreter="/nowhere/node"),
    )
    found = find_runtimes(wanted, tmp_path)
    assert found.kinds == ()
    assert [text.partition(" ")[0] for text in found.findings] == [
        str(broken),
        "/nowhere/node",
        "native",
    ]
    assert "no good" in found.findings[0]


def test_the_launcher_is_compiled_for_the_interpreter(tmp_path: Path) -> None:
    found = find_runtimes(settings.Runtimes(), tmp_path)
    python = found.get(found.resolve("python:default") or "")
    assert python is not None
    launcher = tmp_path / python.launcher
    assert launcher.suffix == ".pyc"
    assert launcher.stat().st_mode & 0o777 == 0o644
