"""The health gate of the role, as a node runs it; `tests/hosts` has it with TLS."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from controller.deploy.release import find_ansible
from tests.conftest import Agent, AgentFactory

# One place in the inbox, and one event that waits there for long.
SMALL = "[store]\ninbox_rows = 1\n"
FAILING = {"exec": {"kind": "python:default", "code": "def main(args): return 1 / 0"}}
ERRORS = ["application error", "developer error"]
LATER = {"max": 3, "backoff_ms": 60_000, "on": ERRORS}
RULE = {
    "trigger": "/_/t",
    "action": "/_/a",
    "annotations": [{"key": "retry", "value": LATER}],
}


def judge(agent: Agent, folder: Path, key: str, seconds: str = "5") -> str:
    """What the gate says against the node, "" when nothing."""
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"whisk.system": [key]}))
    gate = find_ansible() / "roles/edge_agent/files/gate.py"
    done = subprocess.run(
        [sys.executable, gate, agent.url, "127.0.0.1", keys, "", seconds],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr


def fill_the_inbox(agent: Agent) -> None:
    """With an event whose action fails, and that is tried again in a minute."""
    token = base64.b64encode(agent.key.encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
    for method, path, body in (
        ("PUT", "actions/a", FAILING),
        ("PUT", "triggers/t", {}),
        ("PUT", "rules/r", RULE),
        ("POST", "triggers/t", {}),
    ):
        request = urllib.request.Request(
            f"{agent.url}/api/v1/namespaces/_/{path}",
            json.dumps(body).encode(),
            headers,
            method=method,
        )
        urllib.request.urlopen(request, timeout=10).close()


@pytest.mark.sandbox
def test_a_node_that_is_well_passes_and_a_wrong_key_does_not(
    agent: Agent, tmp_path: Path
) -> None:
    assert judge(agent, tmp_path, agent.system_key) == ""
    assert "401" in judge(agent, tmp_path, f"{agent.system_key}x")


@pytest.mark.sandbox
def test_a_node_that_runs_nothing_of_what_it_accepts_does_not_pass(
    agent_factory: AgentFactory, tmp_path: Path
) -> None:
    agent = agent_factory(settings=SMALL)
    fill_the_inbox(agent)

    said = judge(agent, tmp_path, agent.system_key, "1")

    assert said.strip() == "1 accepted events wait and none is run"
