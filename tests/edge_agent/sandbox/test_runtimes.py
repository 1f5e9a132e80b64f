"""Which interpreters are here, and the names that they answer to."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent import settings
from edge_agent.sandbox.runtimes import Runtime, Runtimes, find_runtimes

PYTHON = Runtime("python:3.13", "/usr/bin/python3", ("/usr",), "python.pyc")
NODE = Runtime("nodejs:22", "/usr/bin/node", ("/usr",), "node.js")
BOTH = Runtimes((PYTHON, NODE))


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
        ("blackbox", None),
        ("", None),
    ],
)
def test_kinds_map_to_what_is_installed(kind: str, concrete: str | None) -> None:
    assert BOTH.resolve(kind) == concrete


def test_a_language_that_is_not_installed_serves_nothing() -> None:
    only = Runtimes((PYTHON,), ("node does not run",))
    assert only.resolve("nodejs:20") is None
    assert set(only.manifest) == {"python"}


def test_the_manifest_has_one_default_for_each_family() -> None:
    manifest = BOTH.manifest
    assert list(manifest) == ["python", "nodejs"]
    for entries in manifest.values():
        assert [e.kind for e in entries if e.default] == [entries[0].runs_on]
        assert len({e.kind for e in entries}) == len(entries)


def test_every_kind_of_the_manifest_resolves() -> None:
    assert all(BOTH.resolve(kind) for kind in BOTH.accepted)
    assert {"python:default", "python:3", "nodejs:20"} <= set(BOTH.accepted)


def test_what_is_missing_is_left_out_with_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no good >&2\nexit 3\n")
    broken.chmod(0o755)
    wanted = settings.Runtimes(
        python=settings.Runtime(interpreter=str(broken)),
        nodejs=settings.Runtime(interpreter="/nowhere/node"),
    )
    found = find_runtimes(wanted, tmp_path)
    assert found.kinds == ()
    assert [text.partition(" ")[0] for text in found.findings] == [
        str(broken),
        "/nowhere/node",
    ]
    assert "no good" in found.findings[0]


def test_the_launcher_is_compiled_for_the_interpreter(tmp_path: Path) -> None:
    found = find_runtimes(settings.Runtimes(), tmp_path)
    python = found.get(found.resolve("python:default") or "")
    assert python is not None
    launcher = tmp_path / python.launcher
    assert launcher.suffix == ".pyc"
    assert launcher.stat().st_mode & 0o777 == 0o644
