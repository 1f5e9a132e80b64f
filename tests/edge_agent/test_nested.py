"""Actions that call actions and wait for them, on a node with room for one."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.node, pytest.mark.timeout(60)]

NODE = """\
[pool]
memory_mb = 256
nested_memory_mb = {nested_mb}
[sandbox]
minimum_level = "rlimits"
network = "host"
"""

#: Calls itself until `depth` is 0, as any HTTP client would.
CODE = """
import base64, json, os, urllib.request

def main(args):
    depth = args["depth"]
    if depth == 0:
        return {"reached": True}
    key = base64.b64encode(os.environ["__OW_API_KEY"].encode()).decode()
    request = urllib.request.Request(
        os.environ["__OW_API_HOST"]
        + "/api/v1/namespaces/_/actions/nest?blocking=true&result=true",
        data=json.dumps({"depth": depth - 1}).encode(),
        headers={"Authorization": "Basic " + key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
"""


def send(agent: Any, method: str, path: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{agent.url}/api/v1/namespaces/_/{path}",
        data=json.dumps(body).encode(),
        method=method,
        headers={
            "Authorization": "Basic " + base64.b64encode(agent.key.encode()).decode(),
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def nest(agent: Any, depth: int) -> tuple[int, Any]:
    action = {
        "exec": {"kind": "python:default", "code": CODE},
        "annotations": [{"key": "provide-api-key", "value": True}],
        "limits": {"timeout": 1500},
    }
    assert send(agent, "PUT", "actions/nest?overwrite=true", action)[0] == 200
    path = "actions/nest?blocking=true&result=true"
    return send(agent, "POST", path, {"depth": depth})


def test_blocking_calls_three_deep_do_not_wait_for_the_memory_of_their_callers(
    agent_factory: Callable[..., Any],
) -> None:
    agent = agent_factory(settings=NODE.format(nested_mb=768))

    assert nest(agent, 3) == (200, {"reached": True})


def test_without_an_allowance_they_end_by_the_time_limit_and_the_node_serves_on(
    agent_factory: Callable[..., Any],
) -> None:
    agent = agent_factory(settings=NODE.format(nested_mb=0))
    began = time.monotonic()

    status, answer = nest(agent, 3)

    assert status == 502
    assert "exceeded its time limits of 1500 milliseconds" in answer["error"]
    assert time.monotonic() - began < 10
    assert nest(agent, 0) == (200, {"reached": True})
