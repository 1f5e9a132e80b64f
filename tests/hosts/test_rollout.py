"""Three machines: batches, the health gate, what goes back, an upgrade under load."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hosts.site import FINGERPRINT, Outcome, Site, wait_until

if TYPE_CHECKING:
    from tests.hosts.conftest import Machine

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

# A request each 50 ms until it is told to stop, on a connection of its own; then how
# many there were, and the failures.
LOAD = """
import base64, http.client, json, pathlib, ssl, sys, time
host, ca, key, folder = sys.argv[1:]
token = base64.b64encode(key.encode()).decode()
headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
context = ssl.create_default_context(cafile=ca)
count, failures = 0, []
while not pathlib.Path(folder, "stop").exists():
    began = time.monotonic()
    try:
        connection = http.client.HTTPSConnection(host, timeout=60, context=context)
        path = "/api/v1/namespaces/_/actions/add?blocking=true&result=true"
        connection.request("POST", path, json.dumps({"n": count}), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or json.loads(text) != {"n": count + 1}:
            failures.append([answer.status, text.decode()])
        connection.close()
    except OSError as error:
        failures.append(repr(error))
    count += 1
    time.sleep(max(0, 0.05 - (time.monotonic() - began)))
pathlib.Path(folder, "told").write_text(json.dumps([count, failures]))
"""
RELEASE = "basename $(readlink /opt/edgewhisk/current)"
MANIFEST = """
project:
  name: home
  packages:
    default:
      actions:
        greet: {function: greet.py, runtime: "python:default"}
"""
ADD = '{"exec": {"kind": "python:default", "code": "def main(a): return {\\"n\\": a[\\"n\\"] + 1}"}}'


@pytest.fixture
def site(fleet: Site) -> Site:
    return fleet


@pytest.fixture
def deployed(fleet_deployed: Outcome) -> Outcome:
    return fleet_deployed


@contextmanager
def load(site: Site, machine: Machine, folder: Path) -> Iterator[None]:
    """Twenty requests a second; how they went is in `folder/told` afterwards."""
    site.ask("PUT", "/api/v1/namespaces/_/actions/add", ADD, machine=machine)
    arguments = [machine.address, str(site.folder / "pki/ca.pem"), site.key(machine)]
    command = [*machine.enter, sys.executable, "-c", LOAD, *arguments, str(folder)]
    with subprocess.Popen(command):
        try:
            yield
        finally:
            (folder / "stop").touch()


def test_a_fleet_is_deployed_and_a_second_run_changes_nothing(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0, deployed.talk
    before = [machine.ssh(FINGERPRINT) for machine in site.machines]
    began = time.monotonic()

    again = site.deploy(site.with_broker())

    assert again.code == 0, again.talk
    assert set(again.changed.values()) == {0}
    assert [machine.ssh(FINGERPRINT) for machine in site.machines] == before
    assert time.monotonic() - began < 60


def test_one_key_opens_every_node_and_edgectl_knows_the_authority(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    done = site.run("doctor", "--fleet", str(site.with_broker()), "--json")

    assert "certificate" not in done.stdout
    for machine in site.machines:
        assert site.ask("GET", "/api/v1/namespaces", machine=machine) == ["guest"]


def test_an_upgrade_under_load_fails_no_request(
    site: Site, deployed: Outcome, tmp_path: Path
) -> None:
    assert deployed.code == 0
    before = site.releases()
    newer = site.with_release("edge_agent/senses.py", "# another release")

    with load(site, site.machines[1], tmp_path):
        outcome = newer.deploy(site.with_broker())
    count, failures = json.loads((tmp_path / "told").read_text())

    assert outcome.code == 0, outcome.talk
    assert set(site.releases()).isdisjoint(before)
    assert count > 100
    assert failures == []


def test_a_release_whose_actions_fail_goes_back_by_itself(
    site: Site, deployed: Outcome
) -> None:
    before = site.releases()
    broken = site.with_release(
        "edge_agent/sandbox/launchers/python.py", "raise SystemExit(3)", only=True
    )

    outcome = broken.deploy(site.with_broker())

    assert outcome.code == 1
    assert site.releases() == before
    assert "rolled back to" in outcome.host("fleet1")["reason"]
    assert "left as it was, since fleet1 failed" in outcome.host("fleet2")["reason"]
    for machine in site.machines:
        assert site.ask("GET", "/api/v1", machine=machine)


def test_a_release_that_dies_as_a_service_goes_back_by_itself(
    site: Site, deployed: Outcome
) -> None:
    before = site.releases()
    broken = site.with_release(
        "edge_agent/systemd.py",
        "if 'NOTIFY_SOCKET' in os.environ: raise OSError('no day for it')",
    )

    outcome = broken.deploy(site.with_broker(), "--canary", "2")

    assert outcome.code == 1
    assert site.releases() == before
    for canary in ("fleet1", "fleet2"):
        assert "rolled back to" in outcome.host(canary)["reason"]
    assert "no day for it" in outcome.host("fleet1")["reason"]
    assert "left as it was, since fleet1" in outcome.host("fleet3")["reason"]


def test_a_release_that_does_not_start_is_never_switched_to(
    site: Site, deployed: Outcome
) -> None:
    before = site.releases()
    broken = site.with_release("edge_agent/app.py", "import no_such_module")

    outcome = broken.deploy(site.with_broker())

    assert outcome.code == 1
    assert "no_such_module" in outcome.host("fleet1")["reason"]
    assert site.releases() == before


def test_a_wrong_certificate_goes_back_by_itself(site: Site, deployed: Outcome) -> None:
    wrong = "/etc/edgewhisk-wrong.pem"
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=wrong -days 9"
        f" -keyout /tmp/k -out /tmp/c 2>/dev/null; cat /tmp/c /tmp/k | sudo tee {wrong}"
    )
    for machine in site.machines[:1]:
        machine.ssh(make)
    tls = {"server": {"tls": {"certificate": wrong, "key": wrong}}}

    outcome = site.deploy(site.with_broker(edge_agent_settings=tls))

    assert outcome.code == 1
    assert "certificate is refused" in outcome.host("fleet1")["reason"]
    assert "rolled back to" in outcome.host("fleet1")["reason"]
    assert site.ask("GET", "/api/v1")["description"] == "OpenWhisk API"


def test_rollback_brings_the_release_before(site: Site, deployed: Outcome) -> None:
    first = deployed.talk.split("deploying ")[1].split(":")[0]

    outcome = site.play("deploy", "-i", str(site.with_broker()), "--rollback")

    assert outcome.code == 0, outcome.talk
    assert set(site.releases()) == {first}


def test_a_node_that_is_off_is_caught_up_by_the_next_run(
    site: Site, deployed: Outcome
) -> None:
    newest = site.with_release("edge_agent/senses.py", "# a third release")
    last = site.machines[-1]
    dead = newest.with_broker(
        hosts={last.name: {"ansible_host": "10.77.0.98"}}, name="dead.yaml"
    )

    outcome = newest.deploy(dead)
    again = newest.deploy(site.with_broker())

    assert outcome.code == 1
    assert outcome.host(last.name)["unreachable"] == 1
    assert outcome.host("fleet1")["reason"] is None
    assert again.code == 0, again.talk
    assert len(set(site.releases())) == 1


def test_a_machine_that_loses_power_in_the_middle_is_caught_up_and_nothing_is_halved(
    site: Site, deployed: Outcome
) -> None:
    last, before = site.machines[-1], site.releases()
    newest = site.with_release("edge_agent/senses.py", "# a fourth release")
    folders = last.root / "opt/edgewhisk/releases"
    there = set(folders.iterdir())

    def is_half_way() -> bool:
        return any((new / "bin/pip").exists() for new in set(folders.iterdir()) - there)

    wheels = ["--wheelhouse", str(site.wheelhouse)]
    inventory = str(site.with_broker())

    with newest.under_way("deploy", "-i", inventory, *wheels) as process:
        wait_until(is_half_way)
        last.lose_power()
        _, talk = process.communicate(timeout=300)
    others = [machine.ssh(RELEASE) for machine in site.machines[:-1]]
    last.boot()
    after_boot = last.ssh(RELEASE).strip()
    wait_until(lambda: bool(site.ask("GET", "/api/v1", machine=last)))
    again = newest.deploy(site.with_broker())

    assert process.returncode == 1
    assert f"{last.name}: unreachable" in talk
    assert set(others).isdisjoint(before)
    assert after_boot == before[-1]
    assert again.code == 0, again.talk
    assert len(set(site.releases())) == 1


def test_a_machine_that_was_flashed_anew_gets_what_was_applied(
    site: Site, deployed: Outcome
) -> None:
    inventory, last = str(site.with_broker()), site.machines[-1].name
    (site.folder / "greet.py").write_text("def main(args): return args")
    (site.folder / "manifest.yaml").write_text(MANIFEST)
    manifest = ["-f", str(site.folder / "manifest.yaml")]
    applied = site.run("apply", *manifest, "--fleet", inventory)
    removed = site.play("remove", "-i", inventory, "--limit", last, "--yes")

    outcome = site.deploy(site.with_broker())
    greeted = site.ask(
        "POST",
        "/api/v1/namespaces/_/actions/greet?blocking=true&result=true",
        '{"name": "Ann"}',
        machine=site.machines[-1],
    )

    assert applied.returncode == 0, applied.stderr
    assert removed.code == 0, removed.talk
    assert outcome.code == 0, outcome.talk
    assert f"{last}: changed: created action greet" in outcome.talk
    assert greeted == {"name": "Ann"}
