"""The small /etc: what is in it, and that it follows the original."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.sandbox.system import SystemFiles


def _original(tmp_path: Path) -> Path:
    original = tmp_path / "etc"
    (original / "ssl/certs").mkdir(parents=True)
    (original / "hosts").write_text("127.0.0.1 localhost\n")
    (original / "resolv.conf").write_text("nameserver 1.1.1.1\n")
    (original / "shadow").write_text("root:secret")
    return original


def test_only_what_is_harmless_is_copied(tmp_path: Path) -> None:
    etc = SystemFiles(tmp_path / "copy", original=_original(tmp_path))
    etc.build()
    assert not (etc.folder / "shadow").exists()
    assert (etc.folder / "hosts").read_text() == "127.0.0.1 localhost\n"
    assert "action" in (etc.folder / "passwd").read_text()
    assert etc.bound == ["ssl/certs"]


def test_a_new_resolver_is_seen_by_what_runs_already(tmp_path: Path) -> None:
    original = _original(tmp_path)
    etc = SystemFiles(tmp_path / "copy", original=original)
    etc.build()
    (original / "resolv.conf").write_text("nameserver 9.9.9.9\n")
    os.utime(original / "resolv.conf", ns=(1, 1))
    etc.refresh()
    assert (etc.folder / "resolv.conf").read_text() == "nameserver 9.9.9.9\n"
    (original / "resolv.conf").unlink()
    etc.refresh()
    assert (etc.folder / "resolv.conf").exists()
