"""What a message costs: from publishing it to its result, at full speed and alone.

The broker and the client share the asking core; agent and sandboxes have the other. An
action returns what it was sent; rule, trigger and feed are made as users make them.
Node-RED 4 does the same in a function node, where it is installed: name its command in
NODE_RED. It isolates nothing and keeps nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.bench.load import BenchError
from controller.bench.messages_client import MessageClient
from controller.bench.node_red import node_red
from controller.bench.processes import cpu_s, family
from controller.bench.row import Row
from controller.bench.server import (
    Agent,
    Cores,
    agent,
    connection,
    headers,
    on_cores,
)
from controller.local_broker import accepts, broker_command, free_port

MESSAGES = 20_000
BURST = 50_000
ALONE = 500
WARM_UP = 300
TIMEOUT_S = 120.0
START_TIMEOUT_S = 10.0
PER = 1000
MEGABYTE = 1 << 20
FEED = (
    "/api/v1/namespaces/whisk.system/actions/mqtt/subscribe?blocking=true&result=true"
)
BACK = "def main(params):\n    return {'n': params['payload']['n']}\n"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is measured: `pid` is the process that is asked for its memory."""

    name: str
    pid: int

    def peak_mb(self) -> float:
        return _field(self.pid, "status", "VmHWM:") / 1024

    def rss_mb(self) -> float:
        return _field(self.pid, "status", "VmRSS:") / 1024

    def written(self) -> int:
        return sum(_field(pid, "io", "write_bytes:") for pid in family(self.pid))


def messages(cores: Cores) -> list[Row]:
    with broker() as port:
        with (
            message_agent(cores, port) as (node, watched),
            MessageClient(port) as client,
        ):
            warm_up(client)
            idle_mb = watched.rss_mb()
            sustained = _sustained(client, watched)
            alone = _alone(client, watched)
            burst = _burst(client, watched, idle_mb)
            _check(node)
        other = _node_red(cores, port)
    return _rows(sustained, alone, burst, other)


def _rows(
    sustained: dict[str, Any],
    alone: dict[str, Any],
    burst: dict[str, Any],
    other: dict[str, Any],
) -> list[Row]:
    def row(name: str, what: str, value: float, unit: str, **more: Any) -> Row:
        return Row(name=name, what=what, value=value, unit=unit, **more)

    return [
        row(
            "messages_rate",
            f"{MESSAGES:,} QoS 1 messages, durable, results published",
            sustained["rate_per_s"],
            "per s",
            sign=">=",
            aim=2500,
            detail={**sustained, "node_red": other.get("sustained")},
        ),
        row(
            "messages_latency",
            "publish to result, one at a time, p50",
            alone["p50_ms"],
            "ms",
            sign="<=",
            aim=2.0,
            detail={**alone, "node_red": other.get("alone")},
        ),
        row(
            "messages_burst",
            f"a burst of {BURST:,} messages, all answered: RSS at its peak",
            burst["rss_ratio"],
            "of idle",
            sign="<=",
            aim=1.5,
            detail=burst,
        ),
        row(
            "messages_written_burst",
            "written to disk for 1,000 events of a burst",
            burst["written_mb_per_1000"],
            "MB",
            sign="<=",
            aim=4.0,
        ),
        row(
            "messages_written_alone",
            "written to disk for 1,000 events that come one at a time",
            alone["written_mb_per_1000"],
            "MB",
            sign="<=",
            aim=32.0,
        ),
    ]


# --- what is measured ---------------------------------------------------------------


def warm_up(client: MessageClient) -> None:
    client.flood(WARM_UP, timeout_s=TIMEOUT_S)


def _sustained(client: MessageClient, watched: Watched) -> dict[str, Any]:
    cpu = cpu_s(watched.pid)
    seconds = client.flood(MESSAGES, timeout_s=TIMEOUT_S)
    spent = cpu_s(watched.pid) - cpu
    return {
        "rate_per_s": round(MESSAGES / seconds),
        "cpu_us_per_message": round(spent / MESSAGES * 1e6, 1),
        "peak_rss_mb": round(watched.peak_mb(), 1),
    }


def _alone(client: MessageClient, watched: Watched) -> dict[str, Any]:
    written = watched.written()
    spent_ms = [client.ask(timeout_s=TIMEOUT_S) * 1000 for _ in range(ALONE)]
    time.sleep(0.5)  # what is written lazily
    spent_ms.sort()
    return {
        "p50_ms": round(statistics.median(spent_ms), 3),
        "p90_ms": round(spent_ms[ALONE * 9 // 10], 3),
        "p99_ms": round(spent_ms[ALONE * 99 // 100], 3),
        "written_mb_per_1000": _per_1000(watched.written() - written, ALONE),
    }


def _burst(client: MessageClient, watched: Watched, idle_mb: float) -> dict[str, Any]:
    written = watched.written()
    seconds = client.flood(BURST, window=BURST, timeout_s=TIMEOUT_S)
    peak_mb = watched.peak_mb()
    return {
        "seconds": round(seconds, 2),
        "idle_mb": round(idle_mb, 1),
        "peak_mb": round(peak_mb, 1),
        "rss_ratio": round(peak_mb / idle_mb, 3),
        "written_mb_per_1000": _per_1000(watched.written() - written, BURST),
    }


def _per_1000(written: int, count: int) -> float:
    return round(written / MEGABYTE / count * PER, 3)


def _node_red(cores: Cores, port: int) -> dict[str, Any]:
    """The same figures of Node-RED; empty where it is not installed."""
    command = os.environ.get("NODE_RED")
    if command is None:
        return {}
    with (
        node_red(command, port, cores=cores.served) as pid,
        MessageClient(port) as client,
    ):
        watched = Watched("node-red", pid)
        warm_up(client)
        return {
            "sustained": _sustained(client, watched),
            "alone": _alone(client, watched),
        }


# --- the stage ----------------------------------------------------------------------


@contextlib.contextmanager
def broker() -> Iterator[int]:
    """A broker of its own on the core that asks; its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        command = broker_command(Path(folder), port)
        if command is None or command.program != "mosquitto":
            raise BenchError("messages are measured with mosquitto, and there is none")
        (Path(folder) / "broker.conf").write_text(command.configuration)
        process = subprocess.Popen(command.command, stderr=subprocess.DEVNULL)
        try:
            if not accepts(port, timeout_s=START_TIMEOUT_S):
                raise BenchError("the broker does not answer")
            yield port
        finally:
            process.terminate()
            process.wait(START_TIMEOUT_S)


@contextlib.contextmanager
def message_agent(
    cores: Cores, port: int, *, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[Agent, Watched]]:
    """An agent whose action answers what comes from the broker."""
    settings = f'[mqtt]\nbroker = "127.0.0.1:{port}"\n[logging]\nlevel = "WARNING"\n'
    with (
        agent(cores=cores.served, settings=settings, environment=environment) as node,
        on_cores(cores.asking),
    ):
        node.put("back", BACK)
        _connect(node)
        yield node, Watched("edge-agent", node.pid)


def _connect(node: Agent) -> None:
    feed = {"key": "feed", "value": "/whisk.system/mqtt/subscribe"}
    results = {"key": "mqtt-result-topic", "value": "out/back"}
    rule = {"trigger": "/_/t", "action": "/_/back", "annotations": [results]}
    node.call("PUT", "/triggers/t", {"annotations": [feed]})
    node.call("PUT", "/rules/r", rule)
    told = {"lifecycleEvent": "CREATE", "triggerName": "/_/t", "authKey": node.key}
    request = node.request("")
    with connection(node.url) as http:
        body = json.dumps({**told, "topic": "in/#"})
        http.request("POST", FEED, body=body, headers=headers(request))
        answer = json.loads(http.getresponse().read())
    if (answer.get("status") or {}).get("granted") != 1:
        raise BenchError(f"the feed is not subscribed: {json.dumps(answer)}")


def _check(node: Agent) -> None:
    """Every message was acted upon; this is not in the time."""
    done = int(node.call("GET", "/activations?count=true&name=back")["activations"])
    if not done:
        raise BenchError("no activation of the action is recorded")


def _field(pid: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    values = [line.split()[1] for line in lines if line.startswith(name)]
    return int(values[0]) if values else 0
