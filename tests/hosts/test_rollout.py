"""Three machines: batches, the health gate, what goes back, an upgrade under load."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hosts.site import FINGERPRINT, Outcome, Site

if TYPE_CHECKING:
    from tests.hosts.conftest import Lab, Machine

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]

RELEASE = "basename $(readlink /opt/edgewhisk/current)"
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
ADD = '{"exec": {"kind": "python:default", "code": "def main(a): return {\\"n\\": a[\\"n\\"] + 1}"}}'
NOTE = '{"exec": {"kind": "python:default", "code": "def main(a): return a"}}'


@pytest.fixture(scope="module")
def site(
    lab: Lab,
    wheelhouse: Path,
    edgectl: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    with ExitStack() as stack:
        machines = tuple(
            stack.enter_context(lab.machine(f"fleet{n}", 10 + n)) for n in (1, 2, 3)
        )
        yield Site(machines, tmp_path_factory.mktemp("fleet"), wheelhouse, edgectl)


@pytest.fixture(scope="module")
def deployed(site: Site) -> Outcome:
    return site.deploy(site.inventory())


def releases(site: Site) -> list[str]:
    return [machine.ssh(RELEASE).strip() for machine in site.machines]


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

    again = site.deploy(site.inventory())

    assert again.code == 0, again.talk
    assert set(again.changed.values()) == {0}
    assert [machine.ssh(FINGERPRINT) for machine in site.machines] == before
    assert time.monotonic() - began < 60


def test_one_key_opens_every_node_and_edgectl_knows_the_authority(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    done = site.run("doctor", "--fleet", str(site.inventory()), "--json")

    assert "certificate" not in done.stdout
    for machine in site.machines:
        assert site.ask("GET", "/api/v1/namespaces", machine=machine) == ["guest"]


def test_an_upgrade_under_load_fails_no_request(
    site: Site, deployed: Outcome, tmp_path: Path
) -> None:
    assert deployed.code == 0
    before = releases(site)
    newer = site.with_release("edge_agent/senses.py", "# another release")

    with load(site, site.machines[1], tmp_path):
        outcome = newer.deploy(site.inventory())
    count, failures = json.loads((tmp_path / "told").read_text())

    assert outcome.code == 0, outcome.talk
    assert set(releases(site)).isdisjoint(before)
    assert count > 100
    assert failures == []


def test_a_release_whose_actions_fail_goes_back_by_itself(
    site: Site, deployed: Outcome
) -> None:
    before = releases(site)
    broken = site.with_release(
        "edge_agent/sandbox/launchers/python.py", "raise SystemExit(3)", only=True
    )

    outcome = broken.deploy(site.inventory())

    assert outcome.code == 1
    assert releases(site) == before
    assert "rolled back to" in outcome.host("fleet1")["reason"]
    assert "left as it was, since fleet1 failed" in outcome.host("fleet2")["reason"]
    for machine in site.machines:
        assert site.ask("GET", "/api/v1", machine=machine)


def test_a_release_that_does_not_start_is_never_switched_to(
    site: Site, deployed: Outcome
) -> None:
    before = releases(site)
    broken = site.with_release("edge_agent/app.py", "import no_such_module")

    outcome = broken.deploy(site.inventory())

    assert outcome.code == 1
    assert "no_such_module" in outcome.host("fleet1")["reason"]
    assert releases(site) == before


def test_a_wrong_certificate_goes_back_by_itself(site: Site, deployed: Outcome) -> None:
    wrong = "/etc/edgewhisk-wrong.pem"
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=wrong -days 9"
        f" -keyout /tmp/k -out /tmp/c 2>/dev/null; cat /tmp/c /tmp/k | sudo tee {wrong}"
    )
    for machine in site.machines[:1]:
        machine.ssh(make)
    tls = {"server": {"tls": {"certificate": wrong, "key": wrong}}}

    outcome = site.deploy(site.inventory(edge_agent_settings=tls))

    assert outcome.code == 1
    assert "certificate is refused" in outcome.host("fleet1")["reason"]
    assert "rolled back to" in outcome.host("fleet1")["reason"]
    assert site.ask("GET", "/api/v1")["description"] == "OpenWhisk API"


def test_rollback_brings_the_release_before(site: Site, deployed: Outcome) -> None:
    first = deployed.talk.split("deploying ")[1].split(":")[0]

    outcome = site.play("deploy", "-i", str(site.inventory()), "--rollback")

    assert outcome.code == 0, outcome.talk
    assert set(releases(site)) == {first}


def test_a_node_that_is_off_is_caught_up_by_the_next_run(
    site: Site, deployed: Outcome
) -> None:
    newest = site.with_release("edge_agent/senses.py", "# a third release")
    last = site.machines[-1]
    dead = newest.inventory(
        hosts={last.name: {"ansible_host": "10.77.0.98"}}, name="dead.yaml"
    )

    outcome = newest.deploy(dead)
    again = newest.deploy(site.inventory())

    assert outcome.code == 1
    assert outcome.host(last.name)["unreachable"] == 1
    assert outcome.host("fleet1")["reason"] is None
    assert again.code == 0, again.talk
    assert len(set(releases(site))) == 1


def test_an_event_of_one_node_runs_an_action_on_another_and_the_broker_is_guarded(
    site: Site, deployed: Outcome
) -> None:
    """With TLS and a user each; the broker is on the first, nobody else has one."""
    first, second, third = site.machines
    names = {machine.name: {} for machine in site.machines[:1]}
    inventory = site.inventory(groups={"mqtt_brokers": {"hosts": names}})
    fleet = ["--fleet", str(inventory), "--node"]
    publish = ["action", "invoke", "/whisk.system/mqtt/publish", "-p", "payload", "{}"]

    outcome = site.deploy(inventory)
    again = site.deploy(inventory)
    site.ask("PUT", "/api/v1/namespaces/_/actions/note", NOTE, machine=second)
    on = site.run("on", "mqtt", "events/door", "note", *fleet, second.name)
    sent = site.run(*publish, "-p", "topic", "events/door", *fleet, third.name)
    time.sleep(2)
    ran = site.ask("GET", "/api/v1/namespaces/_/activations?name=note", machine=second)
    anonymous = first.ssh(
        "python3 - <<'END'\n"
        "import socket, ssl\n"
        "context = ssl._create_unverified_context()\n"
        f"stream = context.wrap_socket(socket.create_connection(('{first.address}', 8883)))\n"
        "stream.sendall(bytes.fromhex('100d00044d5154540402003c000161'))\n"
        "print(stream.recv(4).hex())\nEND"
    )

    assert outcome.code == 0, outcome.talk
    assert again.code == 0, again.talk
    assert set(again.changed.values()) == {0}, again.talk
    assert on.returncode == 0, on.stderr
    assert sent.returncode == 0, sent.stderr + sent.stdout
    assert [record["name"] for record in ran] == ["note"]
    assert anonymous.strip() == "20020005"  # CONNACK: not authorised
