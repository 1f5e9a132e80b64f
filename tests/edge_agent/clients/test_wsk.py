"""The real `wsk`, where `WSK` names it or it is on the path.

No package registry carries it. What it sends is tested from the contract's rows in any
case (`tests/edge_agent/api/test_wsk.py`); here it is driven as its users drive it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority

pytestmark = [pytest.mark.wsk, pytest.mark.timeout(60)]

CODE = "def main(args):\n    return {'hello': args.get('name', 'you')}\n"
LEVEL = '[sandbox]\nminimum_level = "rlimits"\n'

Wsk = Callable[..., str]


@pytest.fixture
def wsk_at(tmp_path: Path) -> Callable[[str, str], Wsk]:
    """`wsk_at(url, key)` sets its properties and gives what runs it."""

    def at(url: str, key: str) -> Wsk:
        environment = os.environ | {"WSK_CONFIG_FILE": str(tmp_path / "wskprops")}

        def wsk(*arguments: str) -> str:
            done = subprocess.run(
                [os.environ.get("WSK", "wsk"), *arguments],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
            return done.stdout

        (tmp_path / "wskprops").touch()
        (tmp_path / "hello.py").write_text(CODE)
        wsk("property", "set", "--apihost", url, "--auth", key)
        return wsk

    return at


@pytest.fixture
def wsk(agent: Any, wsk_at: Callable[[str, str], Wsk]) -> Wsk:
    return wsk_at(agent.url, agent.key)


def create(wsk: Wsk) -> None:
    wsk("action", "create", "hello", "hello.py", "--kind", "python:default")


def test_a49a_actions_sequences_and_packages(wsk: Wsk, tmp_path: Path) -> None:
    create(wsk)
    wsk("action", "update", "hello", "hello.py", "--kind", "python:default")
    wsk("action", "create", "twice", "--sequence", "hello,hello")
    wsk("package", "create", "p")
    wsk("package", "bind", "p", "b", "-p", "name", "Ann")
    wsk("action", "create", "p/hello", "hello.py", "--kind", "python:default")

    result = wsk("action", "invoke", "hello", "-p", "name", "Ada", "--result")
    bound = wsk("action", "invoke", "b/hello", "--result")
    through = wsk("action", "invoke", "twice", "--result")
    wsk("action", "get", "hello", "--save-as", "saved.py")
    listed = wsk("list")

    assert json.loads(result) == {"hello": "Ada"}
    assert json.loads(bound) == {"hello": "Ann"}
    assert json.loads(through) == {"hello": "you"}
    assert (tmp_path / "saved.py").read_text().strip() == CODE.strip()
    for name in ("hello", "twice", "p", "b"):
        assert re.search(rf"/guest/{name}\b", listed)
    wsk("action", "delete", "twice")


def test_a49b_a49g_triggers_feeds_and_rules(wsk: Wsk) -> None:
    create(wsk)
    wsk("trigger", "create", "t")
    wsk("rule", "create", "r", "t", "hello")
    fired = wsk("trigger", "fire", "t", "-p", "name", "Ada")
    wsk("rule", "disable", "r")
    status = wsk("rule", "status", "r")
    feed = "/whisk.system/alarms/interval"
    wsk("trigger", "create", "often", "--feed", feed, "-p", "minutes", "5")
    read = wsk("trigger", "get", "often")
    wsk("trigger", "delete", "often")
    wsk("rule", "delete", "r", "--disable")

    assert re.search(r"with id [0-9a-f]{32}", fired)
    assert "inactive" in status
    assert '"minutes": 5' in read


def test_a49c_activations(wsk: Wsk) -> None:
    create(wsk)
    answer = wsk("action", "invoke", "hello", "--blocking")
    found = re.search(r"[0-9a-f]{32}", answer)
    assert found is not None

    listed = wsk("activation", "list")
    record = wsk("activation", "get", found[0])

    assert found[0] in listed
    assert '"success"' in record
    assert json.loads(wsk("activation", "result", found[0])) == {"hello": "you"}
    wsk("activation", "logs", found[0])
    wsk("activation", "get", "--last")


def test_b78_apis(wsk: Wsk) -> None:
    wsk(
        "action",
        "create",
        "hello",
        "hello.py",
        "--kind",
        "python:default",
        "--web",
        "true",
    )

    made = wsk(
        "api", "create", "/greet", "/hello", "get", "hello", "--response-type", "json"
    )
    listed = wsk("api", "list")
    wsk("api", "delete", "/greet")

    assert "/api/guest/greet/hello" in made
    assert "/greet" in listed


def test_f7_it_works_over_tls_with_i(
    agent_factory: Any, wsk_at: Callable[[str, str], Wsk], tmp_path: Path
) -> None:
    pair = Authority().issue("node")
    certificate, key = pair.write(tmp_path, "node")
    tls = f'[server.tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    agent = agent_factory(settings=f'{tls}host = "127.0.0.1"\nport = 0\n{LEVEL}')
    url = re.search(r"https://\S+", agent.log.read_text())
    assert url is not None

    assert wsk_at(url[0].rstrip(","), agent.key)("-i", "list")
