"""What the demo plays on: the nodes, their actions, a feed, the bridge."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from controller.fleet.client import Client
from controller.fleet.code import executable
from controller.fleet.feeds import wire
from controller.fleet.fleet import on_all
from controller.fleet.local_state import LocalState
from controller.fleet.process import POLL_S, Process, ended, spawn, stop, uninterrupted
from controller.fleet.target import Target
from controller.fleet.wire import ActionBody
from controller.local_node import environment, last_line
from controller.mapreduce.examples import example
from edge_agent.model.errors import EdgeWhiskError

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
#: Records are written a moment after the result is out.
COUNT_TIMEOUT_S = 10.0
PYTHON_ACTIONS = ("hello", "dew_point", "weather")


class StageError(EdgeWhiskError):
    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """The running fleet as the demo sees it."""

    directory: Path
    targets: tuple[Target, ...]
    host: str
    port: int
    program: str

    @classmethod
    def of(cls, state: LocalState, directory: Path) -> Self:
        broker = state.broker
        if broker is None:
            raise StageError("the demo needs a broker")
        targets = tuple(
            Target(n.url, n.key, name=n.name, system_key=n.system_key)
            for n in state.nodes
        )
        return cls(directory, targets, broker.host, broker.port, broker.program)

    @property
    def names(self) -> str:
        return ", ".join(target.name for target in self.targets)

    @property
    def broker_text(self) -> str:
        return f"{self.program} on port {self.port}"

    async def count(
        self, targets: Sequence[Target], action: str, since: int
    ) -> dict[str, int]:
        """Activations of `action` on each node, once they are all written."""
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(t)) for t in targets]
            until = time.monotonic() + COUNT_TIMEOUT_S
            while True:
                counted = await on_all(
                    clients, lambda c: c.count_activations(name=action, since=since)
                )
                loads = await asyncio.gather(*(c.edge("load") for c in clients))
                busy = any(load.get("inbox") for load in loads)
                if not busy or time.monotonic() > until:
                    return {target.name: count for target, count in counted}
                await asyncio.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Deployed:
    """`weather` is the JavaScript one where the nodes have Node.js."""

    names: tuple[str, ...]
    weather: str


async def deploy(targets: Sequence[Target]) -> Deployed:
    """The example actions on every node."""
    files = {name: example(f"actions/{name}.py") for name in PYTHON_ACTIONS}
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(t)) for t in targets]
        if await _have_node(clients[0]):
            files["weather-js"] = example("actions/weather.js")
        for name, file in files.items():
            body = ActionBody(exec=executable(file))
            await on_all(clients, lambda c, n=name, b=body: c.put_action(n, b))  # type: ignore[misc]
    weather = "weather-js" if "weather-js" in files else "weather"
    return Deployed(tuple(files), weather)


async def _have_node(client: Client) -> bool:
    report = await client.edge("node")
    return any(str(kind).startswith("nodejs") for kind in report.get("kinds") or ())


async def listen(target: Target, topic: str, action: str, *, result_topic: str) -> None:
    """Trigger, feed and rule on one node; back when the broker has agreed."""
    name = topic.replace("/", "-")
    async with Client(target) as client:
        await wire(
            client,
            name,
            feed="/whisk.system/mqtt/subscribe",
            parameters={"topic": topic},
            action=action,
            annotations={"mqtt-result-topic": result_topic},
        )
        until = time.monotonic() + READY_TIMEOUT_S
        while not _granted(await client.edge("node"), topic):
            if time.monotonic() > until:
                raise StageError(f"{target.name} could not subscribe to {topic}")
            await asyncio.sleep(POLL_S)


def _granted(report: dict[str, Any], topic: str) -> bool:
    """Whether the broker has granted the subscription, by the node's own report."""
    return any(
        one.get("topic") == topic and one.get("granted") is not None
        for broker in (report.get("mqtt") or {}).get("brokers") or ()
        for one in broker.get("subscriptions") or ()
    )


@contextmanager
def bridging(stage: Stage, *, topic: str, action: str) -> Iterator[None]:
    """`edgectl bridge run` beside us, from when it has subscribed."""
    folder = stage.directory
    mapping = folder / "bridge.yaml"
    entry = {"topic": topic, "action": action}
    document = {"broker": f"{stage.host}:{stage.port}", "entries": [entry]}
    mapping.write_text(json.dumps(document, indent=2))  # JSON is YAML
    command = [sys.executable, "-P", "-m", "controller", "bridge", "run"]
    options = ["--map", str(mapping), "--dir", str(folder), "--print-json"]
    process = None
    try:
        with uninterrupted():
            process = spawn(
                [*command, *options],
                stdout=folder / "bridge.out",
                stderr=folder / "bridge.log",
                environ=environment(),
            )
        _wait_connected(process, folder)
        yield
    finally:
        if process is not None:
            stop([process], timeout_s=STOP_TIMEOUT_S)


def _wait_connected(process: Process, folder: Path) -> None:
    until = time.monotonic() + READY_TIMEOUT_S
    while not (folder / "bridge.out").read_bytes().endswith(b"\n"):
        if ended(process) or time.monotonic() > until:
            reason = last_line(folder / "bridge.log")
            raise StageError(f"the bridge did not start: {reason}")
        time.sleep(POLL_S)
