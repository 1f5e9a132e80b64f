"""`edgectl deploy` to a real machine with systemd, sshd and no network but ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hosts.site import FINGERPRINT, Outcome, Site

if TYPE_CHECKING:
    from tests.hosts.conftest import Lab

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(900)]

ACTION = """
import os
def main(args):
    hidden = not os.path.exists("/var/lib/edgewhisk/state.db")
    return {"name": args["name"], "processes": len(os.listdir("/proc")), "hidden": hidden}
"""


@pytest.fixture(scope="module")
def site(
    lab: Lab,
    wheelhouse: Path,
    edgectl: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    with lab.machine("node1", 1) as machine:
        yield Site((machine,), tmp_path_factory.mktemp("site"), wheelhouse, edgectl)


@pytest.fixture(scope="module")
def fingerprint(site: Site) -> Callable[[], list[str]]:
    return lambda: site.machine.ssh(FINGERPRINT).splitlines()


@pytest.fixture(scope="module")
def checked(site: Site, fingerprint: Callable[[], list[str]]) -> tuple[Outcome, bool]:
    """A check of the blank machine, and whether it left everything as it was."""
    site.machine.ssh("sudo true")  # the first login writes a file or two
    before = fingerprint()
    return site.deploy(site.inventory(), "--check"), before == fingerprint()


@pytest.fixture(scope="module")
def deployed(site: Site, checked: tuple[Outcome, bool]) -> Outcome:
    """The first deployment, after one that broke off while it installed."""
    name = re.search(r"deploying (\S+):", checked[0].talk)
    assert name is not None
    left = f"/opt/edgewhisk/releases/{name[1]}/bin"
    site.machine.ssh(f"sudo mkdir -p {left} && sudo touch {left}/pip")
    return site.deploy(site.inventory())


def test_a_check_of_a_blank_machine_says_what_would_change_and_changes_nothing(
    checked: tuple[Outcome, bool],
) -> None:
    outcome, unchanged = checked

    assert outcome.code == 0, outcome.talk
    assert outcome.host("node1")["changed"] > 0
    assert unchanged


def test_a_deployed_node_answers(site: Site, deployed: Outcome) -> None:
    assert deployed.code == 0, deployed.talk
    assert deployed.host("node1")["failed"] == 0
    assert deployed.host("node1")["reason"] is None
    assert Path(deployed.document["log"]).is_file()
    assert site.ask("GET", "/api/v1")["description"] == "OpenWhisk API"


def test_its_keys_are_kept_for_their_owner_alone(site: Site, deployed: Outcome) -> None:
    assert deployed.code == 0
    kept = ["host_vars/node1/edge_agent.yaml", "group_vars/all/edge_agent.yaml"]
    kept += ["pki/ca.key", "pki/node1.key"]
    on_node = site.machine.ssh(
        "sudo stat -c '%a %U %G' /etc/edgewhisk/keys.json /etc/edgewhisk/node.pem"
    )

    assert {(site.folder / name).stat().st_mode & 0o777 for name in kept} == {0o600}
    assert set(on_node.splitlines()) == {"640 root edgewhisk"}


def test_an_action_runs_in_namespaces_under_the_service(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    code = {"exec": {"kind": "python:default", "code": ACTION}}
    actions = "/api/v1/namespaces/_/actions/hello"
    site.ask("PUT", f"{actions}?overwrite=true", json.dumps(code))

    answer = site.ask("POST", f"{actions}?blocking=true", '{"name": "Ann"}')
    node = site.ask("GET", "/edge/v1/node", system=True)

    assert answer["response"]["result"]["name"] == "Ann"
    assert answer["response"]["result"]["hidden"]
    assert node["isolation"]["level"] in {"namespaces", "full"}


def test_edgectl_reaches_the_fleet_with_the_keys_that_were_kept(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0

    listed = site.run("action", "list", "--fleet", str(site.inventory()), "--json")

    assert listed.returncode == 0, listed.stderr


def test_a_second_deploy_changes_nothing(
    site: Site, deployed: Outcome, fingerprint: Callable[[], list[str]]
) -> None:
    assert deployed.code == 0
    runs = "systemctl show --property MainPID --value edge-agent.service"
    before, pid = fingerprint(), site.machine.ssh(runs)

    again = site.deploy(site.inventory())

    assert again.code == 0, again.talk
    assert again.host("node1")["changed"] == 0, again.talk
    assert fingerprint() == before
    assert site.machine.ssh(runs) == pid


def test_a_host_that_is_off_is_named_and_the_others_go_on(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    inventory = site.inventory(hosts={"attic": {"ansible_host": "10.77.0.99"}})

    outcome = site.deploy(inventory)

    assert outcome.code == 1
    assert outcome.host("attic")["unreachable"] == 1
    assert "No route to host" in outcome.host("attic")["reason"]
    assert outcome.host("node1") | {"ok": 0} == {
        "ok": 0,
        "changed": 0,
        "failed": 0,
        "unreachable": 0,
        "reason": None,
    }


def test_a_wrong_setting_is_named_and_the_node_goes_on_as_it_was(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    inventory = site.inventory(edge_agent_settings={"pool": {"memory_mb": 0}})

    outcome = site.deploy(inventory)

    assert outcome.code == 1
    assert "pool.memory_mb" in outcome.host("node1")["reason"]
    assert site.ask("GET", "/api/v1")["description"] == "OpenWhisk API"


def test_a_file_that_was_changed_by_hand_is_named_and_put_back(
    site: Site, deployed: Outcome, fingerprint: Callable[[], list[str]]
) -> None:
    assert deployed.code == 0
    settings = "/etc/edgewhisk/edge-agent.toml"
    before = site.machine.ssh(f"sudo cat {settings}")
    site.machine.ssh(f"echo '[pool]' | sudo tee -a {settings}")

    outcome = site.deploy(site.inventory())

    assert outcome.code == 0, outcome.talk
    assert "node1: changed: Write the settings" in outcome.talk
    assert site.machine.ssh(f"sudo cat {settings}") == before


def test_certificates_and_keys_are_replaced_while_the_former_key_still_opens(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    inventory, wheels = str(site.inventory()), ["--wheelhouse", str(site.wheelhouse)]
    runs = "systemctl show --property MainPID --value edge-agent.service"
    pid, pem = site.machine.ssh(runs), (site.folder / "pki/node1.pem").read_bytes()

    certificates = site.play("rotate", "certificates", "-i", inventory, *wheels)
    pid_then = site.machine.ssh(runs)
    keys = site.play("rotate", "keys", "-i", inventory, *wheels)
    former = re.search(
        r'former_keys: \["(.*)"\]',
        (site.folder / "group_vars/all/edge_agent.yaml").read_text(),
    )

    assert (certificates.code, keys.code) == (0, 0), certificates.talk + keys.talk
    assert pid_then == pid
    assert (site.folder / "pki/node1.pem").read_bytes() != pem
    assert former is not None
    for key in (site.key(site.machine), former[1]):
        assert site.ask("GET", "/api/v1/namespaces", key=key) == ["guest"]


def test_a_killed_agent_comes_back_with_what_it_had(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    trigger = "/api/v1/namespaces/_/triggers/morning"
    site.ask("PUT", f"{trigger}?overwrite=true", "{}")
    site.machine.ssh("sudo systemctl kill --signal=KILL edge-agent.service")

    again = site.deploy(site.inventory())  # waits until it answers

    assert again.code == 0, again.talk
    assert site.ask("GET", trigger)["name"] == "morning"


def test_remove_leaves_nothing_but_what_it_names(site: Site, deployed: Outcome) -> None:
    assert deployed.code == 0

    outcome = site.play("remove", "-i", str(site.inventory()), "--yes")
    left = site.machine.ssh(
        "ls -d /opt/edgewhisk /etc/edgewhisk /var/lib/edgewhisk"
        " /etc/systemd/system/edge-agent* 2>/dev/null; id edgewhisk 2>/dev/null;"
        " ss -Hltn 'sport = :443 or sport = :3233'; true"
    )

    assert outcome.code == 0, outcome.talk
    assert left == ""
