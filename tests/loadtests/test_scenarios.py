"""The scenarios against a real agent."""

from __future__ import annotations

import base64
import csv
import json
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

ALL = {
    "concurrency 30 ms",
    "payload 1 KB",
    "payload 100 KB",
    "payload 1 MB",
    "latency 1 KB warm",
}


def actions_on(agent: Any) -> list[str]:
    request = urllib.request.Request(
        f"{agent.url}/api/v1/namespaces/_/actions",
        headers={
            "Authorization": f"Basic {base64.b64encode(agent.key.encode()).decode()}"
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [action["name"] for action in json.load(answer)]


def wait_for_actions(agent: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while len(actions_on(agent)) < 2:
        assert process.poll() is None, process.stdout.read()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_all_three_run_together_and_leave_nothing_behind(
    agent: Any, locust: Any, ended: Any
) -> None:
    run = locust("-u", "4", "-r", "4", "-t", "3s", host=agent.url, auth=agent.key)
    ran = ended(run)
    assert ran.code == 0, ran.output
    assert set(ran.requests) == ALL
    assert all(count > 0 for count in ran.requests.values())
    assert ran.failures == 0
    assert actions_on(agent) == []


@pytest.mark.parametrize(
    ("user", "names"),
    [
        ("ConcurrencyUser", {"concurrency 30 ms"}),
        ("PayloadUser", {"payload 1 KB", "payload 100 KB", "payload 1 MB"}),
        ("LatencyUser", {"latency 1 KB warm"}),
    ],
)
def test_one_is_chosen_by_name(
    agent: Any, locust: Any, ended: Any, user: str, names: set[str]
) -> None:
    ran = ended(
        locust(user, "-u", "2", "-r", "2", "-t", "2s", host=agent.url, auth=agent.key)
    )
    assert ran.code == 0, ran.output
    assert set(ran.requests) == names
    assert ran.failures == 0
    assert actions_on(agent) == []


@pytest.mark.broker
def test_the_others_run_when_they_are_named(
    agent: Any, broker: Any, locust: Any, ended: Any, tmp_path: Path
) -> None:
    users = ("TransferUser", "ColdstartUser", "MqttResultUser", "MixedUser", "SoakUser")
    options = ("--transfer", "hop,image,split", "--transfer-bytes", "0,1024,100000")
    options += ("--package-bytes", "0,20000", "--day", "20", "--qos", "2")
    options += ("--broker", broker.address, "--samples", str(tmp_path / "samples.csv"))
    run = locust(
        *(*users, *options, "-u", "12", "-r", "12", "-t", "6s"),
        host=agent.url,
        auth=agent.key,
    )
    ran = ended(run)
    assert ran.code == 0, f"{ran.output}{ran.errors}"
    assert ran.requests.keys() >= {
        *("transfer 0 B hop", "transfer 1 KB call", "transfer 100,000 B hop"),
        *("transfer image 64x48 hop", "transfer 1 MB as 10 x 100 KB"),
        *("coldstart python 0 B", "coldstart python 20,000 B, init alone"),
        *("mqtt qos 2 publish to result", "soak blocking", "soak accepted, then read"),
    }
    assert any(name.startswith("mixed ") for name in ran.requests)
    rows = list(csv.DictReader((tmp_path / "samples.csv").read_text().splitlines()))
    assert len(rows) == sum(ran.requests.values())
    cold = [row for row in rows if row["name"] == "coldstart python 0 B"]
    assert all(float(row["init_ms"]) >= 0 for row in cold)
    assert actions_on(agent) == []


def test_a_burst_ends_by_itself_and_counts_every_task(
    agent: Any, locust: Any, ended: Any
) -> None:
    work = ("--work", "matmul,trees,download,files", "--tasks", "30")
    run = locust("BurstUser", *work, host=agent.url, auth=agent.key)
    ran = ended(run)
    assert ran.code == 0, f"{ran.output}{ran.errors}"
    for name in ("matmul", "trees", "download", "files"):
        label = f"burst 30 {name} python"
        assert ran.requests[f"{label}: ended"] == 30
        assert ran.requests[f"{label}: all"] == 1
    assert "MB/s" in ran.output


def test_slots_are_set_for_the_run_and_given_back(
    agent: Any, locust: Any, ended: Any
) -> None:
    run = locust(
        *("ConcurrencyUser", "--slots", "2", "-u", "8", "-r", "8", "-t", "3s"),
        *("--system-auth", agent.system_key, "--warm-up", "1"),
        host=agent.url,
        auth=agent.key,
    )
    ran = ended(run)
    assert ran.code == 0, ran.output
    (entry,) = ran.stats
    mean_ms = entry["total_response_time"] / entry["num_requests"]
    assert mean_ms > 3 * 30  # eight clients for two slots
    assert setting(agent, "pool.memory_mb")["origin"] != "override"


def test_an_open_loop_asks_at_its_rate(agent: Any, locust: Any, ended: Any) -> None:
    run = locust(
        *("PayloadUser", "--payload-bytes", "17", "--rate", "40", "-t", "4s"),
        host=agent.url,
        auth=agent.key,
    )
    ran = ended(run)
    assert ran.code == 0, ran.output
    assert ran.requests["payload 17 B"] == pytest.approx(160, rel=0.2)


def setting(agent: Any, name: str) -> Any:
    key = base64.b64encode(agent.system_key.encode()).decode()
    request = urllib.request.Request(
        f"{agent.url}/edge/v1/settings", headers={"Authorization": f"Basic {key}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)[name]


@pytest.mark.node
def test_a_host_without_python_is_given_javascript(
    agent_factory: Any, locust: Any, ended: Any
) -> None:
    settings = '[runtimes.python]\ninterpreter = "/nonexistent"\n'
    agent = agent_factory(settings=f'[sandbox]\nminimum_level = "rlimits"\n{settings}')
    ran = ended(locust("-u", "3", "-t", "3s", host=agent.url, auth=agent.key))
    assert ran.code == 0, ran.output
    assert "nodejs actions" in ran.output
    assert ran.failures == 0


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_removes_its_actions(
    agent: Any, locust: Any, ended: Any, sign: signal.Signals
) -> None:
    run = locust("-u", "3", host=agent.url, auth=agent.key)
    wait_for_actions(agent, run)
    time.sleep(1)
    run.send_signal(sign)
    ran = ended(run)
    assert ran.code == 0, ran.output
    assert actions_on(agent) == []


def test_host_and_key_come_from_the_environment(
    agent: Any, locust: Any, ended: Any
) -> None:
    run = locust(
        "LatencyUser",
        "-t",
        "1s",
        OPENWHISK_APIHOST=agent.url,
        OPENWHISK_AUTH=agent.key,
    )
    assert ended(run).code == 0


def test_a_locustfile_of_ones_own_may_use_the_package(
    agent: Any, locust: Any, ended: Any, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from loadtests.latency import LatencyUser\n\nclass MyUser(LatencyUser):\n    pass\n"
    )
    run = locust("MyUser", "-t", "1s", host=agent.url, auth=agent.key, folder=file)
    ran = ended(run)
    assert ran.code == 0, ran.output
    assert ran.requests["latency 1 KB warm"] > 0
