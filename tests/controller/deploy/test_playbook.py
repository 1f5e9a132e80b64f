"""The real ansible-playbook with our callback, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from controller.deploy import playbook
from controller.deploy.events import Diff, Event, Ok, TaskBegins
from controller.deploy.playbook import Run, command_of, environment_for, play
from controller.deploy.release import find_ansible
from edge_agent.settings import parse_settings

LOCAL = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
}
TASKS = [
    {"name": "Good", "ansible.builtin.command": {"argv": ["true"]}},
    {
        "name": "Write",
        "ansible.builtin.copy": {"content": "x\n", "dest": "{{ folder }}/x"},
    },
    {
        "name": "Bad",
        "ansible.builtin.fail": {"msg": "it is broken"},
        "when": "inventory_hostname == 'b'",
    },
]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    hosts = {"a": None, "b": None}
    path.write_text(yaml.safe_dump({"all": {"vars": LOCAL, "hosts": hosts}}))
    return path


@pytest.fixture
def our_playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A playbook of the test's own among ours, in a copy of the folder."""
    folder = tmp_path / "ansible"
    (folder / "playbooks").mkdir(parents=True)
    for part in ("roles", "plugins", "ansible.cfg"):
        (folder / part).symlink_to(find_ansible() / part)
    play_of_it = {"name": "P", "hosts": "all", "gather_facts": False, "tasks": TASKS}
    (folder / "playbooks" / "mine.yml").write_text(yaml.safe_dump([play_of_it]))
    monkeypatch.setattr(playbook, "find_ansible", lambda: folder)
    return "mine"


@pytest.mark.timeout(60)
def test_a_run_tells_what_happens_and_adds_it_up(
    inventory: Path, our_playbook: str, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "run.log"
    run = Run(
        playbook=our_playbook,
        inventory=inventory,
        hosts=["a", "b"],
        log=log,
        variables={"folder": str(tmp_path)},
        forks=1,
        diff=True,
    )
    seen: list[Event] = []

    recap = play(run, seen.append, environment_for(os.environ))

    assert TaskBegins(task="Good") in seen
    assert Ok(host="a", task="Good", changed=True) in seen
    assert any(isinstance(event, Diff) and "+x" in event.text for event in seen)
    assert recap.hosts["a"].well
    assert recap.hosts["a"].changed == 2
    assert recap.hosts["b"].failed == 1
    assert recap.hosts["b"].reason == "Bad: it is broken"
    assert "PLAY RECAP" in log.read_text()


def test_a_users_own_ansible_cfg_wins_over_ours(tmp_path: Path) -> None:
    own = environment_for({"ANSIBLE_CONFIG": "/mine.cfg", "HOME": str(tmp_path)})

    assert own["ANSIBLE_CONFIG"] == "/mine.cfg"
    assert own["ANSIBLE_ROLES_PATH"].endswith("/roles")


def test_every_option_reaches_ansible(tmp_path: Path) -> None:
    run = Run(
        playbook="site",
        inventory=tmp_path / "i",
        hosts=[],
        log=tmp_path / "l",
        limit="a",
        forks=2,
        check=True,
        diff=True,
    )

    command = command_of(run)

    assert command[-6:] == ["--limit", "a", "--forks", "2", "--check", "--diff"]
    assert str(find_ansible() / "playbooks" / "site.yml") in command


@pytest.mark.timeout(60)
def test_the_settings_of_an_inventory_become_the_settings_file(tmp_path: Path) -> None:
    role = find_ansible() / "roles" / "edge_agent"
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    tables = {
        "server": {"body_bytes": 1000},
        "pool": {"idle_s": 1.5, "prewarm": {"python:3": 2}},
        "mqtt": {"broker": 'odd "name" \\ grüße:1'},
        "runtimes": {"python": {"interpreter": "/usr/bin/python3"}},
    }
    own = {"edge_agent_settings": tables, "edge_agent_port": 80}
    inventory = {"all": {"vars": defaults | LOCAL | own, "hosts": {"attic": None}}}
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(inventory))
    template = {
        "src": str(role / "templates" / "edge-agent.toml.j2"),
        "dest": str(tmp_path / "out.toml"),
    }
    play_of_it = {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(role / "vars" / "main.yml")],
        "tasks": [{"ansible.builtin.template": template}],
    }
    (tmp_path / "p.yml").write_text(yaml.safe_dump([play_of_it]))

    subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "fleet.yaml", "p.yml"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )

    document = tomllib.loads((tmp_path / "out.toml").read_text())
    tls = document["server"].pop("tls")
    server = {"host": "127.0.0.1", "port": 80, "body_bytes": 1000}
    assert document == tables | {
        "node": "attic",
        "data_dir": "/var/lib/edgewhisk",
        "namespace": "guest",
        "keys_file": "/etc/edgewhisk/keys.json",
        "server": server,
    }
    assert tls["port"] == 443
    document["server"]["tls"] = tls
    assert parse_settings(document, source="the template").server.tls is not None
