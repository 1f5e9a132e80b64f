"""What a fire costs: until it is accepted, by its rules, and until its work is read."""

from __future__ import annotations

import json
import statistics
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

from controller.bench.actions import HELLO, HELLO_BODY
from controller.bench.load import BenchError
from controller.bench.row import Row
from controller.bench.server import Agent, Cores, agent, headers, on_cores, wait_until

FIRES = 200
RULES = 10
FIRE_ROUNDS = 60
READ_TIMEOUT_S = 10.0
REST_TIMEOUT_S = 30.0
ACCEPTED, FOUND = 202, 200


def fires(cores: Cores) -> list[Row]:
    """On both cores, as a node runs; one fire at a time over one connection."""
    with on_cores(cores.all), agent(cores=cores.all) as node:
        node.put("hello", HELLO)
        for trigger, rules in (("one", 1), ("many", RULES)):
            _make(node, trigger, rules)
        caller = _Caller(node)
        return [_readable(node, caller), _accepting(node, caller)]


def _make(node: Agent, trigger: str, rules: int) -> None:
    node.call("PUT", f"/triggers/{trigger}", {})
    for number in range(rules):
        rule = {"trigger": f"/_/{trigger}", "action": "/_/hello"}
        node.call("PUT", f"/rules/{trigger}{number}", rule)


class _Caller:
    """A client that asks again and again over one connection."""

    def __init__(self, node: Agent) -> None:
        self._http = HTTPConnection(urlsplit(node.url).netloc, timeout=READ_TIMEOUT_S)
        self._headers = headers(node.request(""))
        self._base = urlsplit(node.request("").url).path

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes | None:
        """The answer; None when there is no such thing (yet)."""
        self._http.request(method, self._base + path, body, self._headers)
        answer = self._http.getresponse()
        text = answer.read()
        return text if answer.status in (ACCEPTED, FOUND) else None

    def fire(self, trigger: str) -> str:
        answer = self.ask("POST", f"/triggers/{trigger}", HELLO_BODY)
        if answer is None:
            raise BenchError("a fire was not accepted")
        return str(json.loads(answer)["activationId"])

    def read(self, activation_id: str) -> bytes:
        deadline = time.monotonic() + READ_TIMEOUT_S
        while (answer := self.ask("GET", f"/activations/{activation_id}")) is None:
            if time.monotonic() > deadline:
                raise BenchError(f"{activation_id} cannot be read")
        return answer


def _readable(node: Agent, caller: _Caller) -> Row:
    spent = []
    for _ in range(FIRES + 10):
        begun = time.perf_counter()
        record = json.loads(caller.read(caller.fire("one")))
        caller.read(json.loads(record["logs"][0])["activationId"])
        spent.append((time.perf_counter() - begun) * 1000)
    _rest(node)
    found = spent[10:]
    return Row(
        name="fire_readable",
        what="fire to the record of the rule's action, one at a time: p50",
        value=statistics.median(found),
        unit="ms",
        sign="<=",
        aim=3.0,
        detail={"p90_ms": round(statistics.quantiles(found, n=10)[-1], 2)},
    )


def _accepting(node: Agent, caller: _Caller) -> Row:
    """By turns, each when what the one before started has ended."""
    taken: dict[str, list[float]] = {"one": [], "many": []}
    for _ in range(FIRE_ROUNDS + 5):
        for trigger, times in taken.items():
            begun = time.perf_counter()
            caller.fire(trigger)
            times.append((time.perf_counter() - begun) * 1000)
            _rest(node)
    one, many = (statistics.median(times[5:]) for times in taken.values())
    return Row(
        name="fire_rules",
        what=f"a fire with {RULES} rules accepted: p50",
        value=many / one,
        unit="x one with one rule",
        sign="<=",
        aim=3.0,
        detail={"one_ms": round(one, 3), "many_ms": round(many, 3)},
    )


def _rest(node: Agent) -> None:
    wait_until(
        lambda: node.load()["inbox"] == 0, timeout_s=REST_TIMEOUT_S, pause_s=0.002
    )
