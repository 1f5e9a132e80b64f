"""`edge-agent user`: the same on the store of a node and on one that runs."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from edge_agent.admin import tell_served
from edge_agent.cli import run_command

NAMED = "home", "work"


class User:
    """The command on one data folder; its last output."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self.capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        self.capsys.readouterr()
        assert run_command(["user", *words, "--data", str(self.data)]) == code
        found = self.capsys.readouterr()
        return found.out if code == 0 else found.err

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.fixture(params=["offline", "running"])
def user(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> User:
    if request.param == "offline":
        return User(tmp_path / "data", capsys)
    return User(request.getfixturevalue("agent").data, capsys)


def create_john(user: User) -> dict[str, str]:
    words = [word for name in NAMED for word in ("--namespace", name)]
    lines = user("create", "john.doe", *words).splitlines()
    keys = dict(line.split("\t") for line in lines)
    assert tuple(keys) == NAMED
    return keys


def test_a_subject_is_made_shown_blocked_limited_and_deleted(user: User) -> None:
    keys = create_john(user)
    shown = user.json("get", "john.doe")["namespaces"]
    assert {one["name"]: f"{one['uuid']}:{one['key']}" for one in shown} == keys
    assert user("get", "john.doe", "--namespace", "work") == f"{keys['work']}\n"
    listed = user("list")
    assert "john.doe\thome,work\n" in listed
    assert not any(key.split(":")[1] in user("list", "--json") for key in keys.values())

    user("block", "john.doe")
    assert "john.doe\thome,work\tblocked\n" in user("list")
    user("unblock", "john.doe")
    user("limits", "set", "home", "invocationsPerMinute=7", "allowedKinds=a,b")
    user("limits", "set", "home", "invocationsPerMinute=none")
    assert user("limits", "get", "home") == "allowedKinds=a,b\n"
    user("limits", "delete", "home")
    assert user.json("limits", "get", "home") == {}

    user("delete", "john.doe", "--namespace", "home")
    assert [one["name"] for one in user.json("get", "john.doe")["namespaces"]] == [
        "work"
    ]
    user("delete", "john.doe")
    assert "john.doe" in user("get", "john.doe", code=1)


def test_what_cannot_be_done_is_told_with_an_exit_code(user: User) -> None:
    assert "at least 5" in user("create", "joe", code=2)
    assert "A key is" in user("create", "john.doe", "--auth", "x:y", code=2)
    assert "expected NAME=VALUE" in user("limits", "set", "guest", "x=1", code=2)
    assert "does not exist" in user("block", "john.doe", code=1)
    create_john(user)
    assert "already" in user("create", "jane.doe", "--namespace", "home", code=1)
    assert "$.firesPerMinute" in user(
        "limits", "set", "home", "firesPerMinute=many", code=2
    )


@pytest.mark.parametrize("how", ["block", "delete"])
def test_a51_a_running_node_obeys_at_once(agent: Any, capsys: Any, how: str) -> None:
    user = User(agent.data, capsys)
    key = create_john(user)["home"]
    assert ask(agent.url, key) == 200
    user(how, "john.doe")
    assert ask(agent.url, key) == 401


def test_what_was_made_offline_is_there_when_the_node_starts(
    agent_factory: Any, tmp_path: Path, capsys: Any
) -> None:
    user = User(tmp_path / "data", capsys)
    key = create_john(user)["home"]
    user("limits", "set", "home", "invocationsPerMinute=5")
    agent = agent_factory(data=user.data)
    assert ask(agent.url, key, "limits")["invocationsPerMinute"] == 5


def test_the_file_that_tells_of_a_node_is_private_and_a_stale_one_harmless(
    tmp_path: Path, capsys: Any
) -> None:
    user = User(tmp_path / "data", capsys)
    create_john(user)
    before = os.umask(0)
    try:
        tell_served(user.data, "http://127.0.0.1:9")
    finally:
        os.umask(before)
    assert (user.data / "served.json").stat().st_mode & 0o777 == 0o600
    assert "john.doe" in user("list")


def ask(url: str, key: str, path: str = "actions") -> Any:
    request = urllib.request.Request(
        f"{url}/api/v1/namespaces/_/{path}",
        headers={"Authorization": f"Basic {b64encode(key.encode()).decode()}"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer) if path == "limits" else answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
