"""What is wrong is one line and exit code 2; what a host refuses is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(60)

KEY = "11111111-2222-3333-4444-555555555555:secret"


class StandIn(BaseHTTPRequestHandler):
    """An OpenWhisk host that takes every action and throttles every call of one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, [] if "/actions" in self.path else {"runtimes": {}})

    def do_PUT(self) -> None:
        self._answer(200, {})

    def do_DELETE(self) -> None:
        self._answer(200, {})

    def do_POST(self) -> None:
        text = "Too many requests in the last minute (count: 61, allowed: 60)."
        self._answer(429, {"error": text, "code": "abc"})

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, document: object) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class WithPython(StandIn):
    def do_GET(self) -> None:
        python = {"runtimes": {"python": [{"kind": "python:3.11"}]}}
        self._answer(200, [] if "/actions" in self.path else python)


@pytest.fixture
def serve() -> Iterator[Any]:
    servers = []

    def start(handler: type[BaseHTTPRequestHandler]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refused(ran: Any) -> str:
    """The one line, with Locust's own log left out."""
    assert ran.code == 2, ran.output
    assert "Traceback" not in ran.output
    lines = [line for line in ran.output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ran.output
    return str(lines[0])


def test_no_host_at_all(locust: Any, ended: Any) -> None:
    assert refused(ended(locust("-t", "1s"))).startswith("error: no host: give --host")


def test_a_host_but_no_key(locust: Any, ended: Any) -> None:
    line = refused(ended(locust("-t", "1s", host="http://127.0.0.1:1")))
    assert line.startswith("error: no key: give --auth")


def test_a_host_that_is_not_there(locust: Any, ended: Any) -> None:
    line = refused(ended(locust("-t", "1s", host="http://127.0.0.1:1", auth=KEY)))
    assert "http://127.0.0.1:1: no answer: " in line


def test_a_host_that_is_no_openwhisk(locust: Any, ended: Any, serve: Any) -> None:
    url = serve(BaseHTTPRequestHandler)
    line = refused(ended(locust("-t", "1s", host=url, auth=KEY)))
    assert "not an answer of an OpenWhisk API host" in line


@pytest.mark.parametrize("host", ["ftp://x", "http://", "http://x:port"])
def test_a_host_that_is_no_url(locust: Any, ended: Any, host: str) -> None:
    assert host in refused(ended(locust("-t", "1s", host=host, auth=KEY)))


def test_a_wrong_key(agent: Any, locust: Any, ended: Any) -> None:
    line = refused(ended(locust("-t", "1s", host=agent.url, auth=KEY)))
    assert line == f"error: {agent.url}: the host refuses the key (HTTP 401)"


def test_a_host_without_a_language_we_write(
    locust: Any, ended: Any, serve: Any
) -> None:
    line = refused(ended(locust("-t", "1s", host=serve(StandIn), auth=KEY)))
    assert "offers no runtime for python or nodejs" in line


def test_throttled_calls_are_failures_with_the_remedy_named(
    locust: Any, ended: Any, serve: Any
) -> None:
    url = serve(WithPython)
    ran = ended(locust("LatencyUser", "-t", "1s", host=url, auth=KEY))
    assert ran.code == 1
    assert ran.failures == ran.requests["latency 1 KB warm"] > 0
    assert "429 throttled: raise the limits of the namespace" in ran.errors


def test_a_scenario_that_does_not_exist(locust: Any, ended: Any) -> None:
    ran = ended(locust("NoSuchUser", "-t", "1s", host="http://127.0.0.1:1", auth=KEY))
    assert ran.code == 1
    assert "Unknown User(s): NoSuchUser" in ran.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("PayloadUser", "--payload-bytes", "3"), "0 or at least 12 are possible"),
        (("PayloadUser", "--payload-bytes", "x"), "'x' is not bytes,bytes,..."),
        (("LatencyUser", "--rate", "-1"), "'-1' is not a number above 0"),
        (("TransferUser", "--transfer", "fly"), "--transfer fly: there are hop, image"),
        (("BurstUser", "--work", "sleep"), "--work sleep: there are matmul"),
        (("BurstUser", "--tasks", "0"), "--tasks 0: not numbers above 0"),
        (("MqttResultUser",), "no broker: give --broker HOST:PORT"),
        (("MqttResultUser", "--broker", "h:p"), "--broker h:p: not HOST:PORT"),
        (("LatencyUser", "--language", "cobol"), "invalid choice: 'cobol'"),
        (("LatencyUser", "--language", "nodejs"), "offers no runtime for nodejs"),
        (("LatencyUser", "--slots", "2"), "has no /edge/v1/settings"),
        (("--slots", "2"), "--slots is for one scenario alone, not for"),
        (("LatencyUser", "--ca-file", "/nowhere"), "/nowhere"),
    ],
)
def test_a_wrong_option_is_named(
    locust: Any, ended: Any, serve: Any, arguments: tuple[str, ...], words: str
) -> None:
    secure = "--ca-file" in arguments
    url = serve(WithPython)
    host = url.replace("http:", "https:") if secure else url
    ran = ended(locust(*arguments, "-t", "1s", host=host, auth=KEY))
    assert ran.code == 2, ran.output
    assert words in ran.output
    assert "Traceback" not in ran.output
