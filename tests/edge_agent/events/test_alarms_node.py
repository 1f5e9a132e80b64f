"""Alarms on a real node: as wsk makes them, through kills and restarts."""

from __future__ import annotations

import base64
import sqlite3
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Agent, AgentFactory

SETTINGS = '[sandbox]\nminimum_level = "rlimits"\n'
FEEDS = "/api/v1/namespaces/whisk.system/actions/alarms"
OWN = "/api/v1/namespaces/_"
CODE = "def main(args):\n    return args\n"


def call(agent: Agent, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(agent.url + path, method=method)
    if body is not None:
        request.data = msgspec.json.encode(body)
    key = base64.b64encode(agent.key.encode()).decode()
    request.add_header("Authorization", f"Basic {key}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, msgspec.json.decode(answer.read())
    except HTTPError as error:
        return error.code, msgspec.json.decode(error.read())


def feed(agent: Agent, name: str, event: str, **arguments: Any) -> Any:
    life = {"lifecycleEvent": event, "triggerName": "/_/t", "authKey": agent.key}
    path = f"{FEEDS}/{name}?blocking=true"
    return call(agent, "POST", path, {**life, **arguments})[1]["response"]["result"]


def prepare(agent: Agent, rule: str = "r") -> None:
    action = {"exec": {"kind": "python:default", "code": CODE}}
    call(agent, "PUT", f"{OWN}/actions/echo", action)
    call(agent, "PUT", f"{OWN}/triggers/t", {})
    call(agent, "PUT", f"{OWN}/rules/{rule}", {"trigger": "/_/t", "action": "/_/echo"})


def fires(agent: Agent) -> list[dict[str, Any]]:
    return call(agent, "GET", f"{OWN}/activations?name=t&docs=true&limit=200")[1]


def results(agent: Agent) -> list[Any]:
    path = f"{OWN}/activations?name=echo&docs=true&limit=200"
    return [one["response"]["result"] for one in call(agent, "GET", path)[1]]


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 8.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_ms(ms: int) -> int:
    return int(time.time() * 1000) + ms


def test_a_cron_alarm_fires_each_second_until_it_is_paused(
    agent_factory: AgentFactory,
) -> None:
    agent = agent_factory(settings=SETTINGS)
    prepare(agent)
    made = feed(agent, "alarm", "CREATE", cron="* * * * * *", trigger_payload={"a": 1})
    wait_until(lambda: len(results(agent)) >= 2)
    paused = feed(agent, "alarm", "PAUSE")
    time.sleep(0.3)
    count = len(fires(agent))
    time.sleep(1.2)

    assert made["config"]["cron"] == "* * * * * *"
    assert made["config"]["payload"] == {"a": 1}
    assert made["status"]["active"] is True
    assert paused["status"]["active"] is False
    assert results(agent)[0] == {"a": 1}
    assert len(fires(agent)) == count


def test_an_alarm_that_fires_once_takes_its_trigger_and_rules_along(
    agent_factory: AgentFactory,
) -> None:
    agent = agent_factory(settings=SETTINGS)
    prepare(agent)
    feed(agent, "once", "CREATE", date=in_ms(700), deleteAfterFire="rules")
    wait_until(lambda: len(results(agent)) == 1)
    wait_until(lambda: call(agent, "GET", f"{OWN}/triggers/t")[0] == 404)

    assert call(agent, "GET", f"{OWN}/rules/r")[0] == 404
    assert "has no alarm" in feed(agent, "once", "READ")["error"]


def test_an_alarm_whose_trigger_is_gone_says_so(agent_factory: AgentFactory) -> None:
    agent = agent_factory(settings=SETTINGS)
    prepare(agent)
    feed(agent, "alarm", "CREATE", cron="* * * * * *")
    call(agent, "DELETE", f"{OWN}/triggers/t")
    wait_until(lambda: not feed(agent, "alarm", "READ")["status"]["active"])

    reason = feed(agent, "alarm", "READ")["status"]["reason"]
    assert reason["message"].endswith("receiving a 404 status code when firing")


@pytest.mark.parametrize(("catch_up", "least", "most"), [("all", 3, 7), ("last", 1, 4)])
def test_catch_up_says_what_becomes_of_ticks_missed_while_down(
    agent_factory: AgentFactory, catch_up: str, least: int, most: int
) -> None:
    agent = agent_factory(settings=SETTINGS)
    prepare(agent)
    rhythm = {"cron": "* * * * * *", "startDate": in_ms(900)}
    feed(agent, "alarm", "CREATE", catch_up=catch_up, **rhythm)
    agent.kill()
    time.sleep(3.5)
    agent = agent_factory(settings=SETTINGS, data=agent.data)
    wait_until(lambda: len(fires(agent)) >= least)
    feed(agent, "alarm", "PAUSE")

    assert least <= len(fires(agent)) <= most


def test_a_tick_is_neither_lost_nor_doubled_by_kills(
    agent_factory: AgentFactory,
) -> None:
    agent = agent_factory(settings=SETTINGS)
    prepare(agent)
    feed(agent, "alarm", "CREATE", cron="* * * * * *", catch_up="all")
    begun = time.time()
    for _ in range(4):
        time.sleep(0.9)
        agent.kill()
        agent = agent_factory(settings=SETTINGS, data=agent.data)
    time.sleep(1.1)
    feed(agent, "alarm", "PAUSE")
    seconds = int(time.time()) - int(begun)
    count = len(fires(agent))
    agent.stop()

    assert abs(count - seconds) <= 1
    with closing(sqlite3.connect(agent.data / "state.db")) as store:
        rows = store.execute("SELECT key FROM source_note ORDER BY key").fetchall()
    assert rows == [("alarm/guest/t",), ("clock",)]


def test_a89_h21_a_trigger_of_a_feed_is_made_read_changed_and_deleted_as_wsk_does(
    agent_factory: AgentFactory,
) -> None:
    agent = agent_factory(settings=SETTINGS)
    prepare(agent)

    def make(feed_name: str) -> tuple[int, Any]:
        """Of `wsk trigger create t2 --feed`: the `-p` go to the feed alone."""
        annotations = [{"key": "feed", "value": f"/whisk.system/alarms/{feed_name}"}]
        body = {"name": "t2", "annotations": annotations}
        assert call(agent, "PUT", f"{OWN}/triggers/t2?overwrite=false", body)[0] == 200
        return lifecycle(feed_name, "CREATE", minutes=5, trigger_payload={"a": 1})

    def lifecycle(feed_name: str, event: str, **given: Any) -> tuple[int, Any]:
        life = {"lifecycleEvent": event, "triggerName": "/_/t2", "authKey": agent.key}
        path = f"{FEEDS}/{feed_name}?blocking=true&result=false"
        return call(agent, "POST", path, {**life, **given})

    assert make("nothing")[0] == 404
    assert call(agent, "DELETE", f"{OWN}/triggers/t2")[0] == 200
    assert make("interval")[0] == 200
    found = call(agent, "GET", f"{OWN}/triggers/t2")[1]
    assert found["annotations"][0]["value"] == "/whisk.system/alarms/interval"
    assert found["parameters"] == []
    read = lifecycle("interval", "READ")[1]["response"]["result"]
    assert read["config"]["minutes"] == 5
    assert lifecycle("interval", "UPDATE", minutes=7)[0] == 200
    read = lifecycle("interval", "READ")[1]["response"]["result"]
    assert read["config"]["minutes"] == 7
    assert lifecycle("interval", "DELETE")[0] == 200
    assert call(agent, "DELETE", f"{OWN}/triggers/t2")[0] == 200
    assert lifecycle("interval", "READ")[0] == 502
