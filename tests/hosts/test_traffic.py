"""Events between machines: the broker's guard, a cable that is pulled, an upgrade."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.hosts.conftest import run
from tests.hosts.site import Outcome, Site, wait_until

if TYPE_CHECKING:
    from tests.hosts.conftest import Machine

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

EVENTS = 45  # three quarters of a minute's work
ACTIONS = "/api/v1/namespaces/_/actions"
PUBLISH = "/api/v1/namespaces/whisk.system/actions/mqtt/publish?blocking=true"
NOTE = '{"exec": {"kind": "python:default", "code": "def main(a): return a"}}'
SLOW = json.dumps(
    {
        "exec": {
            "kind": "python:default",
            "code": "import time\ndef main(a):\n    time.sleep(1)\n    return a",
        }
    }
)
TRIGGERS = "/api/v1/namespaces/_/triggers"
RULES = "/api/v1/namespaces/_/rules"
# One event after the other.
LINE = '{"annotations": [{"key": "ordered", "value": true}]}'
RULE = '{"trigger": "/_/slowly", "action": "/_/slow"}'
# So many events; run inside the lab's network.
FLOOD = """
import base64, http.client, json, ssl, sys
host, ca, key, count = sys.argv[1:]
token = base64.b64encode(key.encode()).decode()
headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
context = ssl.create_default_context(cafile=ca)
connection = http.client.HTTPSConnection(host, timeout=60, context=context)
for n in range(int(count)):
    path = "/api/v1/namespaces/_/triggers/slowly"
    connection.request("POST", path, json.dumps({"n": n}), headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 202, answer.status
"""
# CONNECT without a user, by hand: the answer's four bytes.
ANONYMOUS = """python3 - <<'END'
import socket, ssl
context = ssl._create_unverified_context()
stream = context.wrap_socket(socket.create_connection(("ADDRESS", 8883)))
stream.sendall(bytes.fromhex("100d00044d5154540402003c000161"))
print(stream.recv(4).hex())
END"""


@pytest.fixture
def site(fleet: Site, fleet_deployed: Outcome) -> Site:
    """The broker is on the first machine, nobody else has one."""
    assert fleet_deployed.code == 0, fleet_deployed.talk
    return fleet


def publish(site: Site, machine: Machine, topic: str, payload: str) -> bool:
    """Whether the machine's agent could."""
    body = json.dumps({"topic": topic, "payload": payload})
    try:
        answer = site.ask("POST", PUBLISH, body, machine=machine)
    except AssertionError:  # a failing action is an error of HTTP
        return False
    return bool(answer["response"]["success"])


def listen(site: Site, machine: Machine, topic: str, action: str) -> None:
    site.ask("PUT", f"{ACTIONS}/{action}?overwrite=true", NOTE, machine=machine)
    fleet = ["--fleet", str(site.with_broker()), "--node", machine.name]
    on = site.run("on", "mqtt", topic, action, *fleet)
    assert on.returncode == 0, on.stderr


def payloads(site: Site, machine: Machine, action: str) -> list[str]:
    """What the action was run with, in order of their starts."""
    query = f"?name={action}&limit=200&docs=true"
    records = site.ask("GET", f"{ACTIONS[:-8]}/activations{query}", machine=machine)
    found = sorted(records, key=lambda record: record["start"])
    return [str(one["response"]["result"]["payload"]) for one in found]


def test_an_event_of_one_node_runs_an_action_on_another(site: Site) -> None:
    first, second, third = site.machines
    listen(site, second, "events/door", "note")

    assert publish(site, third, "events/door", "open")
    wait_until(lambda: payloads(site, second, "note") == ["open"])
    anonymous = first.ssh(ANONYMOUS.replace("ADDRESS", first.address))

    assert anonymous.strip() == "20020005"  # CONNACK: not authorised


def test_a_node_neither_writes_nor_reads_what_is_another_node_s(site: Site) -> None:
    _, second, third = site.machines
    listen(site, second, "edge/fleet2/#", "own")
    listen(site, third, "edge/#", "spied")

    assert not publish(site, third, "edge/fleet2/door", "forged")
    assert publish(site, second, "edge/fleet2/door", "shut")
    assert publish(site, third, "edge/fleet3/door", "mine")
    wait_until(lambda: payloads(site, second, "own") == ["shut"])
    wait_until(lambda: payloads(site, third, "spied") == ["mine"])


def test_a_node_that_was_cut_off_gets_every_event_of_that_time_and_the_next_release(
    site: Site,
) -> None:
    _, second, third = site.machines
    listen(site, second, "events/part", "part")
    assert publish(site, third, "events/part", "0")
    wait_until(lambda: payloads(site, second, "part") == ["0"])
    newest = site.with_release("edge_agent/senses.py", "# while one is cut off")
    before = second.ssh("readlink /opt/edgewhisk/current")

    second.plug(into=False)
    try:
        sent = [publish(site, third, "events/part", str(n)) for n in range(1, 21)]
        apart = newest.deploy(site.with_broker())
    finally:
        second.plug(into=True)
    expected = [str(n) for n in range(21)]
    wait_until(lambda: sorted(payloads(site, second, "part"), key=int) == expected)
    meanwhile = second.ssh("readlink /opt/edgewhisk/current")
    again = newest.deploy(site.with_broker())

    assert all(sent)
    assert apart.code == 1
    assert apart.host("fleet2")["unreachable"] == 1
    assert apart.host("fleet1")["reason"] is None
    assert meanwhile == before
    assert again.code == 0, again.talk
    assert len(set(site.releases())) == 1


def test_what_was_accepted_before_an_upgrade_is_run_after_it(site: Site) -> None:
    third = site.machines[2]
    site.ask("PUT", f"{ACTIONS}/slow?overwrite=true", SLOW, machine=third)
    site.ask("PUT", f"{TRIGGERS}/slowly?overwrite=true", LINE, machine=third)
    site.ask("PUT", f"{RULES}/each?overwrite=true", RULE, machine=third)
    newest = site.with_release("edge_agent/senses.py", "# with an inbox that is full")
    ca, key = str(site.folder / "pki/ca.pem"), site.key(third)

    def inbox() -> int:
        known = site.ask("GET", "/edge/v1/node", system=True, machine=third)
        return int(known["store"]["inbox"])

    flood = [sys.executable, "-c", FLOOD, third.address, ca, key, str(EVENTS)]
    run(*third.enter, *flood)
    assert inbox() > 0
    outcome = newest.deploy(site.with_broker(), "--limit", third.name)
    switched_ms = int(
        1000
        * float(
            third.ssh(
                "systemctl show --property ActiveEnterTimestamp --value"
                " --timestamp=us+utc edge-agent.service | xargs -d '\\n' date +%s.%N -d"
            )
        )
    )
    wait_until(lambda: inbox() == 0)
    time.sleep(0.5)  # records are written a moment later
    query = "?name=slow&limit=200&docs=true"
    records = site.ask("GET", f"{ACTIONS[:-8]}/activations{query}", machine=third)

    assert outcome.code == 0, outcome.talk
    assert {record["response"]["success"] for record in records} == {True}
    assert {r["response"]["result"]["n"] for r in records} == set(range(EVENTS))
    assert {record["start"] < switched_ms for record in records} == {True, False}
