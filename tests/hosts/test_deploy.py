"""`edgectl deploy` to a real machine with systemd, sshd and no network but ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hosts.conftest import LACKING
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


MANIFEST = """
project:
  name: home
  packages:
    default:
      actions:
        greet:
          function: greet.py
          runtime: python:default
"""
GREET = "/api/v1/namespaces/_/actions/greet"
COMMAND_LINE = "console=serial0,115200 root=PARTUUID=1 rootwait"


@pytest.fixture(scope="module")
def site(
    lab: Lab,
    wheelhouse: Path,
    edgectl: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """One machine, on a disk, without the packages that the bundle has."""
    with lab.machine("node1", 1, disk_mb=900) as machine:
        if (wheelhouse / "deb").is_dir():
            machine.ssh(f"sudo dpkg --purge {' '.join(LACKING)}")
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
def broken_off(site: Site, checked: tuple[Outcome, bool]) -> Outcome:
    """A deployment that fills the disk."""
    assert checked[0].code == 0
    free = "$(df --output=avail --block-size=1M / | tail -1)"
    site.machine.ssh(f"sudo fallocate --length $(({free} - 60))M /filler")
    outcome = site.deploy(site.inventory(preflight_disk_mb=0))
    site.machine.ssh("sudo rm /filler")
    return outcome


@pytest.fixture(scope="module")
def deployed(site: Site, broken_off: Outcome) -> Outcome:
    """The first deployment that comes to its end; a manifest is applied after it."""
    assert broken_off.code == 1
    outcome = site.deploy(site.inventory())
    (site.folder / "greet.py").write_text("def main(args): return args")
    (site.folder / "manifest.yaml").write_text(MANIFEST)
    fleet = ["--fleet", str(site.inventory())]
    applied = site.run("apply", "-f", str(site.folder / "manifest.yaml"), *fleet)
    assert applied.returncode == 0, applied.stderr + outcome.talk
    return outcome


@pytest.fixture(scope="module")
def mended(site: Site, deployed: Outcome) -> tuple[int, Outcome]:
    """How far the node was from what it should be, and the deployment after that.

    By a user whose sudo asks for a password.
    """
    assert deployed.code == 0
    site.machine.ssh(
        "sudo useradd -m -s /bin/bash ann; echo ann:secret | sudo chpasswd;"
        " echo 'ann ALL=(ALL) ALL' | sudo tee /etc/sudoers.d/ann;"
        " sudo cp -r /home/pi/.ssh /home/ann/; sudo chown -R ann: /home/ann;"
        " echo '[pool]' | sudo tee -a /etc/edgewhisk/edge-agent.toml"
    )
    site.ask("DELETE", GREET)
    inventory = site.inventory()
    status = site.run("fleet", "status", "--fleet", str(inventory), "--json")
    differs = json.loads(status.stdout)[0]["differs"]
    asked = {"ansible_user": "ann", "ansible_become_password": "secret"}
    return differs, site.deploy(site.inventory(**asked))


def test_a_check_of_a_blank_machine_says_what_would_change_and_changes_nothing(
    checked: tuple[Outcome, bool],
) -> None:
    outcome, unchanged = checked

    assert outcome.code == 0, outcome.talk
    assert outcome.host("node1")["changed"] > 0
    assert unchanged


def test_a_full_disk_is_named_with_the_way_out(broken_off: Outcome) -> None:
    reason = broken_off.host("node1")["reason"]

    assert "No space left on device" in reason
    assert "free some disk there" in reason


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
    written = site.machine.written_bytes()

    again = site.deploy(site.inventory())
    written = site.machine.written_bytes() - written

    assert again.code == 0, again.talk
    assert again.host("node1")["changed"] == 0, again.talk
    assert fingerprint() == before
    assert site.machine.ssh(runs) == pid
    assert written <= 1 << 20


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
    site: Site, mended: tuple[int, Outcome]
) -> None:
    _, outcome = mended
    settings = site.machine.ssh("sudo cat /etc/edgewhisk/edge-agent.toml")

    assert outcome.code == 0, outcome.talk
    assert "node1: changed: Write the settings" in outcome.talk
    assert "[pool]" not in settings


def test_what_was_applied_and_is_gone_is_counted_by_status_and_put_back_by_deploy(
    site: Site, mended: tuple[int, Outcome]
) -> None:
    differs, outcome = mended

    assert differs == 1
    assert "node1: changed: created action greet" in outcome.talk
    assert site.ask("GET", GREET)["name"] == "greet"


def test_a_machine_that_is_no_raspberry_pi_is_not_made_one(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    limits = "/etc/systemd/journald.conf.d /etc/systemd/system.conf.d"

    assert site.machine.ssh(f"ls -A {limits} 2>/dev/null || true").strip() == ""


@pytest.mark.slow
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

    finished = site.play("rotate", "keys", "--finish", "-i", inventory, *wheels)

    assert finished.code == 0, finished.talk
    assert site.ask("GET", "/api/v1/namespaces") == ["guest"]
    with pytest.raises(AssertionError, match="HTTP Error 401"):
        site.ask("GET", "/api/v1/namespaces", key=former[1])


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


def test_a_backup_is_restored(site: Site, deployed: Outcome) -> None:
    assert deployed.code == 0
    trigger, fleet = "/api/v1/namespaces/_/triggers/kept", str(site.inventory())
    file = str(site.folder / "node1.db")
    site.ask("PUT", f"{trigger}?overwrite=true", "{}")

    made = site.run("backup", "node1", "-o", file, "--fleet", fleet)
    site.ask("DELETE", trigger)
    restored = site.play("restore", "node1", file, "--fleet", fleet)

    assert made.returncode == 0, made.stderr
    assert restored.code == 0, restored.talk
    assert site.ask("GET", trigger)["name"] == "kept"


@pytest.mark.slow
def test_a_raspberry_pi_gets_its_limits_once_and_a_broker_from_the_bundle(
    site: Site, deployed: Outcome
) -> None:
    """With a command line as its firmware reads it, and a kernel that says it lacks."""
    assert deployed.code == 0
    firmware = "/boot/firmware/cmdline.txt"
    site.machine.ssh(
        f"sudo mkdir -p /boot/firmware; echo '{COMMAND_LINE}' | sudo tee {firmware};"
        " echo cpuset cpu pids | sudo tee /run/controllers"
    )
    inventory = site.with_broker(
        raspberrypi_board="Raspberry Pi 4 Model B",
        raspberrypi_reboot=False,
        raspberrypi_controllers="/run/controllers",
    )

    outcome = site.deploy(inventory)
    again = site.deploy(inventory)

    assert outcome.code == 0, outcome.talk
    assert "needs a reboot: sudo reboot" in outcome.talk
    assert again.host("node1")["changed"] == 0, again.talk
    assert site.machine.ssh(f"cat {firmware}") == (
        f"{COMMAND_LINE} cgroup_enable=memory cgroup_memory=1\n"
    )
    kept = site.machine.ssh("cat /etc/systemd/journald.conf.d/edgewhisk.conf")
    assert "SystemMaxUse=64M" in kept
    assert site.machine.ssh("systemctl is-active mosquitto").strip() == "active"


def test_remove_leaves_nothing_but_what_it_names(site: Site, deployed: Outcome) -> None:
    assert deployed.code == 0

    outcome = site.play("remove", "-i", str(site.inventory()), "--yes")
    left = site.machine.ssh(
        "sudo find / -xdev ! -path '/proc/*' ! -path '/sys/*' ! -path '/home/*'"
        " \\( -iname '*edgewhisk*' -o -name 'edge-agent*' \\) -print;"
        " sudo grep -rl --exclude='*-' edgewhisk /etc; id edgewhisk 2>/dev/null;"
        " ss -Hltn 'sport = :443 or sport = :3233 or sport = :8883'; true"
    )
    broker = site.machine.ssh(
        "dpkg-query --show mosquitto >/dev/null 2>&1"
        " && systemctl is-active mosquitto || echo none"
    )

    assert outcome.code == 0, outcome.talk
    assert left == ""
    assert broker.strip() in {"active", "none"}  # as Debian has it
