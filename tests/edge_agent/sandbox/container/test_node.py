"""A node with a Docker engine: actions by their image, kinds by the settings' images."""

from __future__ import annotations

import base64
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.sandbox.container.images import NOT_ALLOWED
from edge_agent.sandbox.drivers import NO_ENGINE

pytestmark = [pytest.mark.timeout(60)]

AgentFactory = Callable[..., Any]
IMAGE = "edgewhisk/test-python:latest"
BARE = "edgewhisk/test-bare:latest"
CODE = "def main(args):\n  print('hello')\n  return args"

NODE = """
[sandbox]
minimum_level = "rlimits"
[container]
socket = "{socket}"
network = "none"
images = ["edgewhisk/*", "127.0.0.1:*/*"]
[container.kinds]
"java:8" = "{image}"
"""


def send(
    agent: Any, method: str, path: str, body: Any = None, *, key: str = ""
) -> tuple[int, Any]:
    credentials = base64.b64encode((key or agent.key).encode()).decode()
    request = urllib.request.Request(
        f"{agent.url}{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def invoke(agent: Any, code: str = CODE, **exec_fields: str) -> Any:
    """The record of a new action's activation."""
    at = "/api/v1/namespaces/_/actions/a"
    body = {"exec": {"code": code, **exec_fields}}
    status, told = send(agent, "PUT", f"{at}?overwrite=true", body)
    assert status == 200, told
    invoked = send(agent, "POST", f"{at}?blocking=true", {"x": 1})[1]
    record = f"/api/v1/namespaces/_/activations/{invoked['activationId']}"
    return send(agent, "GET", record)[1]


def annotation(record: Any, key: str) -> Any:
    return {a["key"]: a["value"] for a in record["annotations"]}.get(key)


def error_of(record: Any) -> tuple[str, str]:
    response = record["response"]
    return response["status"], response["result"]["error"]


@pytest.fixture
def node(agent_factory: AgentFactory, docker: Any) -> Any:
    return agent_factory(settings=NODE.format(socket=docker.socket, image=IMAGE))


@pytest.mark.docker
@pytest.mark.engines
def test_an_image_runs_an_action_and_the_record_says_how(node: Any) -> None:
    record = invoke(node, kind="blackbox", image=IMAGE)
    assert record["response"]["result"] == {"x": 1}
    assert annotation(record, "kind") == "blackbox"
    assert annotation(record, "isolation") == "container"
    assert [line[31:] for line in record["logs"]] == ["stdout: hello"]


@pytest.mark.docker
@pytest.mark.engines
def test_a_kind_that_the_settings_give_an_image_runs_in_it(node: Any) -> None:
    record = invoke(node, kind="java:default")
    assert annotation(record, "isolation") == "container"
    assert annotation(record, "kind") == "java:8"
    kinds = send(node, "GET", "/")[1]["runtimes"]
    assert [k["kind"] for k in kinds["java"]] == ["java:8"]
    facts = send(node, "GET", "/edge/v1/node", key=node.system_key)[1]
    assert facts["engine"].startswith("Docker ")
    assert "java:8" in facts["kinds"]


@pytest.mark.docker
@pytest.mark.engines
@pytest.mark.parametrize(
    ("image", "said"),
    [
        (
            "127.0.0.1:1/none:1",
            "Failed to pull container image '127.0.0.1:1/none:1'.",
        ),
        (BARE, f"executable file not found in image {BARE}"),
        (
            "evil/image",
            f"Failed to pull container image 'evil/image'. {NOT_ALLOWED}",
        ),
    ],
)
def test_c17_an_image_that_cannot_be_had_is_the_actions_error(
    node: Any, docker: Any, image: str, said: str
) -> None:
    record = invoke(node, kind="blackbox", image=image)
    assert error_of(record) == ("action developer error", said)
    assert invoke(node, kind="blackbox", image=IMAGE)["response"]["success"]


@pytest.mark.docker
@pytest.mark.engines
def test_a_node_that_stops_leaves_no_container(node: Any, docker: Any) -> None:
    assert invoke(node, kind="blackbox", image=IMAGE)["response"]["success"]
    assert docker.containers()
    node.stop()
    assert not docker.containers()


@pytest.mark.docker
@pytest.mark.engines
def test_what_a_killed_node_left_is_removed_at_the_next_start(
    node: Any, agent_factory: AgentFactory, docker: Any
) -> None:
    other = agent_factory(settings=NODE.format(socket=docker.socket, image=IMAGE))
    assert invoke(other, kind="blackbox", image=IMAGE)["response"]["success"]
    kept = set(docker.containers())
    assert invoke(node, kind="blackbox", image=IMAGE)["response"]["success"]
    assert set(docker.containers()) > kept
    os.kill(node.pid, signal.SIGKILL)
    node.process.wait()
    agent_factory(settings=NODE.format(socket=docker.socket, image=IMAGE))
    assert set(docker.containers()) == kept


def test_without_an_engine_an_image_that_nothing_stands_for_is_told_so(
    agent_factory: AgentFactory,
) -> None:
    agent = agent_factory(
        settings='[sandbox]\nminimum_level="rlimits"\n[container]\nsocket = ""\n'
    )
    record = invoke(agent, kind="blackbox", image="some/image")
    assert error_of(record) == (
        "action developer error",
        f"Failed to pull container image 'some/image'. {NO_ENGINE}",
    )
