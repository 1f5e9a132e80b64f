"""One node of a fleet on this machine: its settings, and how it is started."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import edge_agent

HOST = "127.0.0.1"
#: Four sandboxes of 256 MB on each node: they share one machine.
POOL_MB = 1024


def node_settings(
    name: str,
    *,
    level: str,
    broker: int | None,
    records: int | None = None,
    mock_pins: bool = False,
    pki: Path | None = None,
) -> str:
    """The TOML of one node.

    `broker` is a port, `records` how many are kept, `pki` where its certificate is.
    """
    lines = [f"node = {json.dumps(name)}", ""]
    if pki is not None:
        certificate, key = pki / f"{name}.pem", pki / f"{name}.key"
        lines += ["[server.tls]", f"certificate = {json.dumps(str(certificate))}"]
        lines += [f"key = {json.dumps(str(key))}"]
        lines += [f"host = {json.dumps(HOST)}", "port = 0", ""]
    lines += ["[pool]", f"memory_mb = {POOL_MB}", ""]
    lines += ["[sandbox]", f"minimum_level = {json.dumps(level)}", ""]
    if records is not None:
        lines += ["[store]", f"records = {records}", ""]
    if broker is not None:
        lines += ["[mqtt]", f"broker = {json.dumps(f'{HOST}:{broker}')}", ""]
    if mock_pins:
        lines += ["[gpio]", 'pin_factory = "mock"', ""]
    python = _python()
    if python is not None:
        lines += ["[runtimes.python]", f"interpreter = {json.dumps(python)}", ""]
    return "\n".join(lines)


def sandbox_level() -> str:
    """The least isolation to demand: what bubblewrap gives, where it works."""
    program = shutil.which("bwrap")
    if program is None:
        return "rlimits"
    probe = [program, "--ro-bind", "/", "/", "--unshare-all", "true"]
    tried = subprocess.run(probe, capture_output=True, check=False)
    return "namespaces" if tried.returncode == 0 else "rlimits"


def _python() -> str | None:
    """An interpreter for actions where Debian's is not in its place."""
    if Path("/usr/bin/python3").exists():
        return None
    return shutil.which("python3", path=os.defpath) or os.path.realpath(sys.executable)


def environment() -> dict[str, str]:
    """Ours, with the way to this `edge_agent`, from a checkout as well."""
    root = str(Path(edge_agent.__file__).resolve().parent.parent)
    if root in map(os.path.realpath, site.getsitepackages()):
        return dict(os.environ)
    more = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}:{more}" if more else root}


def node_command(settings: Path, *, data: str, port: int) -> list[str]:
    """`-P`: a module of the user's beside which we were started is none of ours."""
    options = ["--settings", str(settings), "--data", data, "--print-json"]
    options += ["--host", HOST, "--port", str(port)]
    return [sys.executable, "-P", "-m", "edge_agent", "run", *options]


def last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return f"{lines[-1].strip() if lines else 'it said nothing'} (log: {log})"
