"""Node-RED with one flow: `in/#`, a function, `out/back`. For comparison only."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from controller.bench.load import BenchError
from controller.bench.server import on_cores
from controller.local_broker import accepts, free_port

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
#: It listens a moment before its flow has subscribed.
SETTLE_S = 3.0
#: What has no place on the canvas is taken for configuration.
PLACE = {"x": 0, "y": 0}
FUNCTION = "return {topic: 'out/back', payload: {n: msg.payload.n}};"


def flow(port: int) -> list[dict[str, object]]:
    return [
        {"id": "tab", "type": "tab", "label": "bench"},
        {
            "id": "broker",
            "type": "mqtt-broker",
            "broker": "127.0.0.1",
            "port": str(port),
            "protocolVersion": "4",
            "cleansession": True,
            "autoConnect": True,
            "keepalive": "60",
        },
        {
            "id": "in",
            "z": "tab",
            "type": "mqtt in",
            **PLACE,
            "topic": "in/#",
            "qos": "1",
            "datatype": "json",
            "broker": "broker",
            "wires": [["function"]],
        },
        {
            "id": "function",
            "z": "tab",
            "type": "function",
            **PLACE,
            "func": FUNCTION,
            "outputs": 1,
            "wires": [["out"]],
        },
        {
            "id": "out",
            "z": "tab",
            "type": "mqtt out",
            **PLACE,
            "qos": "1",
            "broker": "broker",
            "wires": [],
        },
    ]


@contextlib.contextmanager
def node_red(command: str, port: int, *, cores: frozenset[int]) -> Iterator[int]:
    """Run it with a folder of its own; its process id."""
    with tempfile.TemporaryDirectory(prefix="edgewhisk-bench-") as folder:
        file = Path(folder) / "flows.json"
        file.write_text(json.dumps(flow(port)))
        own = free_port()
        arguments = [command, "--userDir", folder, "--port", str(own), str(file)]
        with on_cores(cores):
            process = subprocess.Popen(
                arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        try:
            if not accepts(own, timeout_s=START_TIMEOUT_S):
                raise BenchError("Node-RED does not answer")
            time.sleep(SETTLE_S)
            yield process.pid
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
