"""The npm client `openwhisk`, installed by npm, against a running agent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("openwhisk.mjs")
INSTALL_TIMEOUT_S = 120
RUN_TIMEOUT_S = 60

pytestmark = [
    pytest.mark.clients,
    pytest.mark.node,
    pytest.mark.slow,
    pytest.mark.timeout(INSTALL_TIMEOUT_S + RUN_TIMEOUT_S),
]


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A folder with the client installed and the script beside it."""
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}')
    options = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    installed = subprocess.run(
        ["npm", "install", *options, "openwhisk"],
        cwd=folder,
        env=os.environ | {"npm_config_cache": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install the client: {installed.stderr[-300:]}")
    shutil.copy(SCRIPT, folder)
    return folder


def test_the_npm_client_does_all_of_its_work(client: Path, agent: Any) -> None:
    seen = _drive(client, agent.url, agent.key)

    _check_actions(seen)
    _check_invocations(seen)
    _check_packages(seen)
    _check_triggers_and_rules(seen)
    _check_routes(seen)
    assert seen["namespaces"] == ["guest"]
    assert seen["gone"] == {
        "status": 404,
        "error": "The requested resource does not exist.",
    }
    assert seen["left"] == [[], [], [], []]
    assert seen["unauthorized"]["status"] == 401


def _drive(client: Path, url: str, key: str) -> dict[str, Any]:
    done = subprocess.run(
        ["node", SCRIPT.name, url, key],
        cwd=client,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def _check_actions(seen: dict[str, Any]) -> None:
    """A12, A29, A54, B2, B11."""
    assert seen["created"]["version"] == "0.0.1"
    assert seen["again"] == {"status": 409, "error": "resource already exists"}
    assert seen["updated"]["version"] == "0.0.2"
    assert seen["updated"]["parameters"] == [{"key": "name", "value": "params"}]
    assert seen["got"]["exec"]["code"].startswith("function main")
    assert seen["got"]["limits"]["timeout"] == 5000
    annotations = {a["key"]: a["value"] for a in seen["got"]["annotations"]}
    assert annotations["description"] == "says hello"
    assert [a["name"] for a in seen["listed"]] == ["hello"]


def _check_invocations(seen: dict[str, Any]) -> None:
    """A46-A48, A63-A67."""
    assert seen["blocking"]["response"]["result"] == {"hello": "params"}
    assert seen["result"] == {"hello": "npm"}
    assert seen["failed"] == {"status": 502, "error": "on purpose"}
    assert seen["record"]["activationId"] == seen["accepted"]["activationId"]
    assert seen["activationResult"]["result"] == {"hello": "params"}
    assert seen["activationLogs"] == {"logs": []}
    names = {a["name"] for a in seen["activations"]}
    assert names == {"hello", "failing"}


def _check_packages(seen: dict[str, Any]) -> None:
    """A40-A42, A54c, B18."""
    assert seen["package"]["publish"] is True
    assert seen["packaged"] == {"hello": "package"}
    assert [p["name"] for p in seen["packages"]] == ["p"]
    assert [a["name"] for a in seen["contents"]["actions"]] == ["hello"]
    assert seen["full"]["status"] == 409


def _check_routes(seen: dict[str, Any]) -> None:
    """B78-B83."""
    assert seen["route"]["gwApiUrl"].endswith("/api/guest/npm")
    assert seen["called"] == {"hello": "npm"}
    assert seen["plain"] == {"hello": "get"}
    (route,) = seen["routes"]["apis"]
    assert seen["oneRoute"]["apis"] == [route]
    assert set(route["value"]["apidoc"]["paths"]) == {"/hello/{id}", "/plain"}
    assert seen["deletedRoute"] == {}
    assert seen["noRoute"]["status"] == 502
    assert seen["noRoute"]["error"] == (
        "API deletion failure: API '/npm' does not exist."
    )
    assert seen["noRoutes"] == {"apis": []}


def _check_triggers_and_rules(seen: dict[str, Any]) -> None:
    """A33-A39, B25, B52."""
    assert seen["trigger"]["name"] == "t"
    assert "activationId" not in seen["unlinked"]
    assert seen["rule"]["status"] == "active"
    assert seen["ran"]["response"]["result"] == {"hello": "trigger"}
    assert seen["inactive"]["status"] == "inactive"
    assert [r["name"] for r in seen["rules"]] == ["r"]
    assert [t["name"] for t in seen["triggers"]] == ["t"]
