"""The scenarios against a real agent."""

from __future__ import annotations

import base64
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
