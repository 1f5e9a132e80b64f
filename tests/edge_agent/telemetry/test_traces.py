"""Traces of a real node, heard by a collector that is a server of this test's own."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edge_agent.model.spans import (
    Context,
    Kind,
    Span,
    new_context,
    otlp_json,
    parse_traceparent,
    trace_id_of,
)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """Takes OTLP over HTTP; `spans` by name."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.requests.append(json.loads(body))
                collector.headers.append(dict(self.headers))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def spans(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for request in self.requests:
            for one in request["resourceSpans"][0]["scopeSpans"][0]["spans"]:
                found.setdefault(one["name"], []).append(one)
        return found

    def wait_for(self, *names: str) -> dict[str, dict[str, Any]]:
        """The first span of each name."""
        until = time.monotonic() + 10
        while not self.spans.keys() >= set(names):
            assert time.monotonic() < until, self.spans.keys()
            time.sleep(0.05)
        return {name: self.spans[name][0] for name in names}


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


@pytest.fixture
def traced(agent_factory: Any, collector: Collector) -> Any:
    settings = (
        'node = "attic"\n[sandbox]\nminimum_level = "rlimits"\n'
        f'[tracing]\nendpoint = "{collector.url}"\nheaders = {{ X-Key = "k" }}\n'
    )
    return agent_factory(settings=settings)


def call(agent: Any, method: str, path: str, body: Any = None, **headers: str) -> Any:
    request = urllib.request.Request(
        f"{agent.url}/api/v1/namespaces/_/{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
        method=method,
    )
    key = base64.b64encode(agent.key.encode()).decode()
    request.add_header("Authorization", f"Basic {key}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def prepare(agent: Any) -> None:
    code = {"kind": "python:default", "code": "def main(args):\n    return args\n"}
    call(agent, "PUT", "actions/a", {"exec": code})
    steps = {"kind": "sequence", "components": ["/_/a", "/_/a"]}
    call(agent, "PUT", "actions/s", {"exec": steps})
    call(agent, "PUT", "triggers/t", {})
    call(agent, "PUT", "rules/r", {"trigger": "/_/t", "action": "/_/s"})


def test_a_fire_is_one_trace_from_its_trigger_to_the_steps_of_a_sequence(
    traced: Any, collector: Collector
) -> None:
    prepare(traced)
    fired = call(traced, "POST", "triggers/t", {}, **{"X-Request-ID": "mine"})

    found = collector.wait_for(
        "trigger guest/t", "rule guest/r", "action guest/s", "action guest/a", "init"
    )
    trigger, rule, sequence = (
        found[name] for name in ("trigger guest/t", "rule guest/r", "action guest/s")
    )
    steps = collector.spans["action guest/a"]

    everything = [trigger, rule, sequence, *steps]
    assert {one["traceId"] for one in everything} == {trace_id_of("mine")}
    assert "parentSpanId" not in trigger
    assert trigger["spanId"] == fired["activationId"][16:]
    assert rule["parentSpanId"] == trigger["spanId"]
    assert sequence["parentSpanId"] == rule["spanId"]
    assert [one["parentSpanId"] for one in steps] == [sequence["spanId"]] * 2
    assert found["init"]["parentSpanId"] == steps[0]["spanId"]
    for one in everything:
        assert int(one["startTimeUnixNano"]) <= int(one["endTimeUnixNano"])
        assert one["status"] == {"code": 1}
    resource = collector.requests[0]["resourceSpans"][0]["resource"]["attributes"]
    assert {"key": "host.name", "value": {"stringValue": "attic"}} in resource
    assert collector.headers[0]["X-Key"] == "k"


def test_a_callers_own_trace_goes_on(traced: Any, collector: Collector) -> None:
    prepare(traced)
    call(traced, "POST", "actions/a?blocking=true", {}, traceparent=PARENT)

    [span] = collector.wait_for("action guest/a").values()

    assert (span["traceId"], span["parentSpanId"]) == tuple(PARENT.split("-")[1:3])


def test_a_collector_that_is_away_costs_nobody_anything(agent_factory: Any) -> None:
    settings = (
        '[sandbox]\nminimum_level = "rlimits"\n'
        '[tracing]\nendpoint = "http://127.0.0.1:1/v1/traces"\n'
    )
    agent = agent_factory(settings=settings)
    prepare(agent)

    for _ in range(20):
        assert call(agent, "POST", "actions/a?blocking=true", {})["end"]
    assert agent.stop() == 0


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys, edge_agent.app, edge_agent.__main__\n"
        "assert 'edge_agent.telemetry.traces' not in sys.modules\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        PARENT.upper(),
        f"{PARENT}-more",
        f"01{PARENT[2:]}",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
    ],
)
def test_what_is_no_traceparent_is_none(text: str | None) -> None:
    assert parse_traceparent(text) is None


def test_a_context_is_read_as_it_is_written() -> None:
    context = new_context()

    assert parse_traceparent(context.traceparent) == context
    assert parse_traceparent(PARENT) == Context(*PARENT.split("-")[1:3])


def test_a_span_is_written_as_otlp_has_it() -> None:
    span = Span(
        context=Context("a" * 32, "b" * 16),
        parent="c" * 16,
        name="n",
        start_ms=1.5,
        end_ms=2,
        kind=Kind.SERVER,
        attributes={"text": "t", "number": 5, "flag": True},
        error="whisk internal error",
    )
    document = json.loads(otlp_json([span], resource={"service.name": "x"}))

    [scope] = document["resourceSpans"][0]["scopeSpans"]
    assert scope["spans"] == [
        {
            "traceId": "a" * 32,
            "spanId": "b" * 16,
            "parentSpanId": "c" * 16,
            "name": "n",
            "kind": 2,
            "startTimeUnixNano": "1500000",
            "endTimeUnixNano": "2000000",
            "attributes": [
                {"key": "text", "value": {"stringValue": "t"}},
                {"key": "number", "value": {"intValue": "5"}},
                {"key": "flag", "value": {"boolValue": True}},
            ],
            "status": {"code": 2, "message": "whisk internal error"},
        }
    ]
