"""A whole node: how it starts, stops, and says what is wrong with its settings."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Agents = Callable[..., Any]
SLEEPER = (
    "import time\ndef main(a):\n    time.sleep(a['s'])\n    return {'n': a['n']}\n"
)


def call(agent: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{agent.url}/api/v1/namespaces/_/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": "Basic " + base64.b64encode(agent.key.encode()).decode(),
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def put_sleeper(agent: Any) -> None:
    body = {"exec": {"kind": "python:default", "code": SLEEPER}}
    status, answer = call(agent, "PUT", "actions/sleeper?overwrite=true", body)
    assert status == 200, answer


def children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line) for line in found.stdout.split()]


def settings(**server: float) -> str:
    lines = "\n".join(f"{key} = {value}" for key, value in server.items())
    return f'[sandbox]\nminimum_level = "rlimits"\n[server]\n{lines}\n'


def test_a_stop_lets_running_work_finish(agent_factory: Agents) -> None:
    agent = agent_factory()
    put_sleeper(agent)
    answers: list[tuple[int, Any]] = []
    body = {"s": 1.0, "n": 7}
    path = "actions/sleeper?blocking=true&result=true"
    caller = threading.Thread(
        target=lambda: answers.append(call(agent, "POST", path, body))
    )
    caller.start()
    time.sleep(0.5)
    assert agent.stop() == 0
    caller.join(10)
    assert answers == [(200, {"n": 7})]


def test_what_a_stop_cuts_off_runs_in_the_next_life(
    agent_factory: Agents, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    agent = agent_factory(settings=settings(stop_timeout_s=0.5), data=data)
    put_sleeper(agent)
    answers: list[tuple[int, Any]] = []
    body = {"s": 3.0, "n": 7}
    path = "actions/sleeper?blocking=true"
    caller = threading.Thread(
        target=lambda: answers.append(call(agent, "POST", path, body))
    )
    caller.start()
    time.sleep(0.5)
    assert agent.stop() == 0
    caller.join(10)
    (status, answer) = answers[0]
    assert status == 202

    agent = agent_factory(settings=settings(), data=data)
    deadline = time.monotonic() + 15
    status = 404
    while status == 404 and time.monotonic() < deadline:
        time.sleep(0.2)
        status, record = call(agent, "GET", f"activations/{answer['activationId']}")
    assert status == 200
    assert record["response"]["result"] == {"n": 7}


def test_a_stop_leaves_no_process_behind(agent_factory: Agents) -> None:
    agent = agent_factory()
    put_sleeper(agent)
    status, _ = call(agent, "POST", "actions/sleeper?blocking=true", {"s": 0, "n": 1})
    assert status == 200
    started = children(agent.pid)
    assert started
    assert agent.stop() == 0
    for pid in started:
        assert not Path(f"/proc/{pid}").exists()


def test_sigint_stops_as_well(agent_factory: Agents) -> None:
    agent = agent_factory()
    agent.process.send_signal(signal.SIGINT)
    assert agent.process.wait(10) == 0


def test_entities_and_keys_survive_a_restart(
    agent_factory: Agents, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    agent = agent_factory(data=data)
    put_sleeper(agent)
    agent.stop()
    again = agent_factory(data=data)
    assert (again.key, again.system_key) == (agent.key, agent.system_key)
    status, action = call(again, "GET", "actions/sleeper")
    assert (status, action["exec"]["code"]) == (200, SLEEPER)


def run_agent(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent", "run", "--data", str(folder), *options],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pool]\nmemory_mb = 0\n", "pool.memory_mb: Expected `int` >= 1"),
        ("[pol]\n", "unknown field `pol`"),
        ("[server]\nhost = 5\n", "server.host: Expected `str`"),
        ("[server\n", "not TOML"),
        ('[sandbox]\nminimum_level = "none"\n', "sandbox.minimum_level"),
    ],
)
def test_a_wrong_settings_file_is_one_line_that_names_the_key(
    text: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    ended = run_agent("--settings", str(file), "--port", "0", folder=tmp_path / "d")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr
    assert not (tmp_path / "d").exists()


def test_a_missing_settings_file_is_named(tmp_path: Path) -> None:
    ended = run_agent("--settings", "nowhere.toml", folder=tmp_path / "d")
    assert ended.returncode == 2
    assert "nowhere.toml" in ended.stderr


def test_a_port_that_is_taken_is_named_and_nothing_stays(
    agent: Any, tmp_path: Path
) -> None:
    port = agent.url.rpartition(":")[2]
    ended = run_agent("--port", port, folder=tmp_path / "d")
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_data_folder_in_use_is_named(agent: Any) -> None:
    ended = run_agent("--port", "0", folder=agent.data)
    assert ended.returncode == 2
    assert "is in use by another agent" in ended.stderr


def test_doctor_tells_what_the_machine_gives() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "edge_agent", "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ},
    )
    report = json.loads(ended.stdout)
    assert report["level"] in {"rlimits", "namespaces", "full"}
    assert ended.returncode == (0 if report["enough"] else 1)
