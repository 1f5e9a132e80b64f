"""What the role `monitoring` writes, made by Ansible and read by Prometheus' own tool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from controller.deploy.playbook import environment_for
from controller.deploy.release import find_ansible
from controller.local import LocalFleet
from controller.local_broker import free_port

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(120)]

PLAYBOOK = """
- hosts: watcher
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: monitoring
        tasks_from: configuration.yml
"""
WITH_PROMTOOL = {
    **os.environ,
    "PATH": f"{os.environ['PATH']}:{Path(sys.executable).parent}",
}
#: There is no service to restart here.
HANDLERS = """
- name: Restart Prometheus
  ansible.builtin.debug:
"""
NODES = {
    "attic": {"ansible_host": "192.0.2.7", "edge_agent_system_key": "u1:k1"},
    "cellar": {
        "ansible_host": "2001:db8::5",
        "edge_agent_tls_port": 8443,
        "edge_agent_made_keys": {"edge_agent_system_key": "u2:k2"},
    },
    "new": {},
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFleet]:
    """One node that speaks https."""
    found = LocalFleet(tmp_path_factory.mktemp("local"))
    found.up(1, broker=False, tls=True)
    yield found
    found.down()


@pytest.fixture(scope="module")
def written(fleet: LocalFleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the role has made, as this user."""
    tmp_path = tmp_path_factory.mktemp("role")
    role = tmp_path / "roles" / "monitoring"
    shutil.copytree(find_ansible() / "roles" / "monitoring", role)
    (role / "handlers" / "main.yml").write_text(HANDLERS)
    shutil.copytree(fleet.directory / "pki", tmp_path / "pki")
    [node] = fleet.status().nodes
    live = {
        "ansible_host": "127.0.0.1",
        "edge_agent_tls_port": int(node.tls_url.rpartition(":")[2]),
        "edge_agent_system_key": node.system_key,
    }
    nodes = {**NODES, "live": live}
    watcher = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "monitoring_nodes": list(nodes),
        "monitoring_scrape_s": 1,
        "monitoring_config_dir": str(tmp_path / "written"),
        "monitoring_user": str(os.getuid()),
        "monitoring_readers": str(os.getgid()),
    }
    inventory: dict[str, Any] = {"all": {"hosts": {**nodes, "watcher": watcher}}}
    (tmp_path / "inventory.yaml").write_text(yaml.safe_dump(inventory))
    (tmp_path / "play.yaml").write_text(PLAYBOOK)
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yaml"]
    done = subprocess.run(
        [*command, "play.yaml"],
        cwd=tmp_path,
        env=environment_for({**WITH_PROMTOOL, "ANSIBLE_LOCAL_TEMP": str(tmp_path)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path / "written"


def test_each_node_is_asked_with_its_own_key_and_the_fleets_authority(
    written: Path,
) -> None:
    text = (written / "prometheus.yml").read_text()
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}

    assert jobs.keys() == {"edgewhisk/attic", "edgewhisk/cellar", "edgewhisk/live"}
    attic, cellar = jobs["edgewhisk/attic"], jobs["edgewhisk/cellar"]
    assert attic["basic_auth"]["username"] == "u1"
    assert Path(attic["basic_auth"]["password_file"]).read_text() == "k1"
    assert attic["tls_config"] == {"ca_file": str(written / "ca.pem")}
    assert attic["static_configs"] == [
        {"targets": ["192.0.2.7:443"], "labels": {"job": "edgewhisk", "node": "attic"}}
    ]
    assert cellar["static_configs"][0]["targets"] == ["[2001:db8::5]:8443"]
    assert Path(cellar["basic_auth"]["password_file"]).read_text() == "k2"
    assert "k1" not in json.dumps(text)
    for file in written.iterdir():
        assert file.stat().st_mode & 0o007 == 0, file
    checked = subprocess.run(
        ["promtool", "check", "config", str(written / "prometheus.yml")],
        env=WITH_PROMTOOL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_node_answers_prometheus_over_https_with_the_fleets_authority(
    written: Path, tmp_path: Path
) -> None:
    port = free_port()
    command = ["prometheus", f"--config.file={written / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={tmp_path}", "--log.level=error"]
    with subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"], env=WITH_PROMTOOL
    ) as prometheus:
        try:
            target = _seen(f"http://127.0.0.1:{port}/api/v1/targets", node="live")
        finally:
            prometheus.terminate()

    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["scrapeUrl"].startswith("https://")


def _seen(url: str, *, node: str) -> dict[str, Any]:
    """The target, once it has been asked."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        time.sleep(0.1)
        with suppress(OSError), urlopen(url, timeout=5) as answer:
            for one in json.load(answer)["data"]["activeTargets"]:
                if one["labels"]["node"] == node and one["health"] != "unknown":
                    found: dict[str, Any] = one
                    return found
    raise AssertionError(node)
