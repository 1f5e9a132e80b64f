"""Delivery on real agents: retries, order, time to live, and events that kill."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Agents = Callable[..., Any]
SETTINGS = """
[sandbox]
minimum_level = "rlimits"
[pool]
memory_mb = 512
"""
SLEEPER = (
    "import time\ndef main(a):\n    time.sleep(a['s'])\n    return {'n': a.get('n')}\n"
)
FAILING = "def main(a):\n    return {'error': 'not today'}\n"


def call(agent: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    token = base64.b64encode(agent.key.encode()).decode()
    request = urllib.request.Request(
        f"{agent.url}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Basic {token}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


def put(agent: Any, path: str, body: Any) -> None:
    status, answer = call(
        agent, "PUT", f"/api/v1/namespaces/_/{path}?overwrite=true", body
    )
    assert status == 200, answer


def put_rule(agent: Any, code: str, **annotations: Any) -> None:
    put(agent, "actions/a", {"exec": {"kind": "python:default", "code": code}})
    put(agent, "triggers/t", {})
    given = [{"key": k, "value": v} for k, v in annotations.items()]
    body = {"trigger": "/_/t", "action": "/_/a", "annotations": given}
    put(agent, "rules/r", body)


def fire(agent: Any, **arguments: Any) -> None:
    status, answer = call(agent, "POST", "/api/v1/namespaces/_/triggers/t", arguments)
    assert status == 202, answer


def runs(agent: Any) -> list[dict[str, Any]]:
    """The records of action `a`, oldest first."""
    path = "/api/v1/namespaces/_/activations?name=a&docs=true&limit=200"
    return list(reversed(call(agent, "GET", path)[1]))


def events(agent: Any, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(agent, "GET", f"/edge/v1/events{query}")[1][
        "events"
    ]
    return found


def until(condition: Callable[[], Any], *, seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return found


def test_retries_keep_the_id_and_write_one_record(agent_factory: Agents) -> None:
    agent = agent_factory(settings=SETTINGS)
    retry = {"max": 2, "backoff_ms": 20, "jitter": 0, "on": ["application error"]}
    put_rule(agent, FAILING, retry=retry)
    fire(agent)
    (dead,) = until(lambda: events(agent, "?state=dead"))
    (record,) = runs(agent)
    assert record["activationId"] == dead["activationId"]
    annotations = {a["key"]: a["value"] for a in record["annotations"]}
    assert annotations["attempts"] == 3
    view = call(agent, "GET", f"/edge/v1/events/{dead['activationId']}")[1]
    starts = [one["start"] for one in view["attempts"]]
    assert starts[1] - starts[0] >= 20
    assert starts[2] - starts[1] >= 40


def test_a_wrong_annotation_is_refused_by_its_key(agent_factory: Agents) -> None:
    agent = agent_factory(settings=SETTINGS)
    put_rule(agent, FAILING)
    body = {
        "trigger": "/_/t",
        "action": "/_/a",
        "annotations": [{"key": "retry", "value": {"backoff_ms": -1}}],
    }
    path = "/api/v1/namespaces/_/rules/r?overwrite=true"
    status, answer = call(agent, "PUT", path, body)
    assert status == 400
    assert "retry.backoff_ms" in answer["error"]


def test_waiting_for_a_retry_holds_up_nobody_but_its_line(
    agent_factory: Agents,
) -> None:
    agent = agent_factory(settings=SETTINGS)
    code = "def main(a):\n    return {'n': a['n'], **({'error': 'x'} if a['bad'] else {})}\n"
    retry = {"max": 1, "backoff_ms": 1500, "jitter": 0, "on": ["application error"]}
    put_rule(agent, code, retry=retry, ordered="key")
    for n, (key, bad) in enumerate([("a", True), ("a", False), ("b", False)]):
        fire(agent, key=key, bad=bad, n=n)
    (other,) = until(lambda: runs(agent))
    assert other["response"]["result"] == {"n": 2}
    states = {item["state"] for item in events(agent)}
    assert states == {"delayed", "waiting"}
    until(lambda: len(runs(agent)) == 3)
    succeeded = [r for r in runs(agent) if r["response"]["success"]]
    assert [r["response"]["result"]["n"] for r in succeeded] == [2, 1]


def test_an_event_that_is_too_old_is_not_run(agent_factory: Agents) -> None:
    agent = agent_factory(settings=SETTINGS)
    put_rule(agent, SLEEPER, ttl_ms=300, ordered=True)
    fire(agent, s=0.8, n=1)
    fire(agent, s=0, n=2)
    (dead,) = until(lambda: events(agent, "?state=dead"))
    assert (dead["reason"], dead["attempts"]) == ("expired", 0)
    first, second = sorted(runs(agent), key=lambda r: r["start"])
    assert first["response"]["success"]
    assert "older than its 300 ms" in second["response"]["result"]["error"]


def test_an_event_that_kills_the_agent_twice_is_put_aside(
    agent_factory: Agents, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    agent = agent_factory(settings=SETTINGS, data=data)
    put_rule(agent, SLEEPER)
    fire(agent, s=20, n="poison")
    for life in range(2):
        until(lambda a=agent: [e for e in events(a) if e["state"] == "running"])
        if life:
            fire(agent, s=0, n="innocent")
            until(lambda a=agent: len(runs(a)) == 1)
        agent.kill()
        agent = agent_factory(settings=SETTINGS, data=data)
    (dead,) = until(lambda: events(agent, "?state=dead"))
    assert (dead["reason"], dead["attempts"]) == ("poison", 2)
    until(lambda: len(runs(agent)) == 2)
    assert events(agent, "?state=waiting") == []


def test_a_stop_is_no_death(agent_factory: Agents, tmp_path: Path) -> None:
    data = tmp_path / "data"
    stopping = f"{SETTINGS}\n[server]\nstop_timeout_s = 0.2\n"
    for life in range(3):
        agent = agent_factory(settings=stopping, data=data)
        if not life:
            put_rule(agent, SLEEPER)
            fire(agent, s=5, n=1)
        until(lambda a=agent: [e for e in events(a) if e["state"] == "running"])
        assert events(agent, "?state=dead") == []
        assert agent.stop() == 0


def test_full_dead_letters_hold_what_should_go_there(agent_factory: Agents) -> None:
    agent = agent_factory(settings=f"{SETTINGS}\n[store]\ndead_letters = 1\n")
    retry = {"max": 0, "on": ["application error"]}
    put_rule(agent, FAILING, retry=retry)
    fire(agent, n=1)
    until(lambda: events(agent, "?state=dead"))
    fire(agent, n=2)
    (held,) = until(lambda: [e for e in events(agent) if e["state"] == "delayed"])
    assert len(runs(agent)) == 1
    dropped = call(agent, "DELETE", "/edge/v1/events")[1]
    assert dropped["dropped"] == 1
    assert call(agent, "DELETE", f"/edge/v1/events/{held['activationId']}")[0] == 204
    assert events(agent) == []
    assert len(runs(agent)) == 2


def test_a_blocking_call_does_not_wait_for_a_backlog(agent_factory: Agents) -> None:
    agent = agent_factory(settings=SETTINGS)
    put_rule(agent, SLEEPER)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: fire(agent, s=0.05, n=n), range(400)))
    assert len(events(agent, "?state=waiting&limit=200")) > 100
    begun = time.monotonic()
    path = "/api/v1/namespaces/_/actions/a?blocking=true"
    status, _ = call(agent, "POST", path, {"s": 0, "n": -1})
    assert status == 200
    assert time.monotonic() - begun < 3


def test_events_of_others_are_not_shown_and_the_query_is_checked(
    agent_factory: Agents,
) -> None:
    agent = agent_factory(settings=SETTINGS)
    assert call(agent, "GET", "/edge/v1/events?state=odd")[0] == 400
    assert call(agent, "GET", "/edge/v1/events?limit=0")[0] == 400
    assert call(agent, "GET", "/edge/v1/events?after=x")[0] == 400
    assert call(agent, "POST", "/edge/v1/events?reason=x")[0] == 400
    assert call(agent, "GET", f"/edge/v1/events/{'0' * 32}")[0] == 404
    assert call(agent, "POST", f"/edge/v1/events/{'0' * 32}")[0] == 404
