"""The bridge: MQTT messages become invocations of actions somewhere in the fleet.

It is the agent's own MQTT source with another sink. A message is acknowledged to the
broker only after a node answered 202, that is, after the node has it on disk. It goes
to the node with the least work for its slots; when that one is away, busy or without
the action, to the next; when none takes it, it is offered again until one does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from controller.bridge_map import BridgeMap, Entry, check_map, read_map
from controller.fleet.client import NO_RETRY, Client, OpenWhiskError
from controller.fleet.target import Target
from edge_agent.events.base import Event, Outgoing, Receipt, Subscription
from edge_agent.events.mqtt import FEED, Mqtt, MqttSource

__all__ = ["Bridge", "FleetSink", "check_map", "run_bridge"]

#: Invocations posted at once, over all nodes.
POSTS = 64
#: A bound only: the broker holds back what is beyond the Receive Maximum.
QUEUE_MOST = 10_000
LOAD_EVERY_S = 1.0
#: Of a host that does not tell; what upstream lets a namespace run is 30.
UNTOLD_SLOTS = 16
POST_TIMEOUT_S = 15.0
#: The message itself is at fault; no node will ever take it.
BAD_MESSAGE = frozenset({400, 413})

log = logging.getLogger(__name__)


class Host(Protocol):
    """What the bridge needs of a node's client."""

    target: Target

    async def post(self, name: str, payload: bytes) -> str: ...

    async def edge(self, path: str) -> Any: ...


@dataclass(slots=True, eq=False)
class Node:
    """A node as the bridge sees it; `work` is what it told, `posted` what we added."""

    host: Host
    away: bool = False
    slots: int = UNTOLD_SLOTS
    work: int = 0
    posted: int = 0
    in_flight: int = 0
    accepted: int = 0
    error: str | None = None

    @property
    def name(self) -> str:
        return self.host.target.name or self.host.target.url

    @property
    def load(self) -> tuple[float, int]:
        """Less is better; of equals the one that has had less."""
        return (self.work + self.posted + self.in_flight) / self.slots, self.accepted

    def health(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "away": self.away,
            "slots": self.slots,
            "work": self.work,
            "in_flight": self.in_flight,
            "accepted": self.accepted,
            "error": self.error,
        }


@dataclass(slots=True, eq=False)
class _Post:
    event: Event
    receipt: asyncio.Future[Receipt]


class FleetSink:
    """A `Sink` that spreads events over nodes; its workers run in `run`."""

    def __init__(self, hosts: Sequence[Host], entries: Sequence[Entry]) -> None:
        self.nodes = [Node(host) for host in hosts]
        self._actions = {entry.id: entry.action for entry in entries}
        self._posts: asyncio.Queue[_Post] = asyncio.Queue(QUEUE_MOST)
        self.left_out = 0

    def __call__(self, event: Event) -> asyncio.Future[Receipt]:
        post = _Post(event, asyncio.get_running_loop().create_future())
        try:
            self._posts.put_nowait(post)
        except asyncio.QueueFull:
            post.receipt.set_result(Receipt.REFUSED)
        return post.receipt

    async def run(self) -> None:
        """Post and watch the nodes' load, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for node in self.nodes:
                group.create_task(self._watch(node), name=f"load of {node.name}")
            for number in range(POSTS):
                group.create_task(self._work(), name=f"bridge post {number}")

    async def look(self, node: Node) -> None:
        """Ask a node for its load; a host that has none to tell is up."""
        try:
            told = await node.host.edge("load")
        except OpenWhiskError as error:
            node.away = error.status == 0
            node.error = str(error) if node.away else None
            node.work = 0
        else:
            node.away, node.error = False, None
            _read_load(node, told)
        node.posted = 0

    async def _watch(self, node: Node) -> None:
        while True:
            await self.look(node)
            await asyncio.sleep(LOAD_EVERY_S)

    async def _work(self) -> None:
        while True:
            post = await self._posts.get()
            receipt = await self._place(post.event)
            if not post.receipt.done():
                post.receipt.set_result(receipt)

    async def _place(self, event: Event) -> Receipt:
        """Try the nodes that are there, the least loaded first."""
        tried: set[int] = set()
        while True:
            here = [n for n in self.nodes if not n.away and id(n) not in tried]
            if not here:
                return Receipt.REFUSED
            node = min(here, key=lambda one: one.load)
            tried.add(id(node))
            receipt = await self._post(node, event)
            if receipt is not Receipt.REFUSED:
                return receipt

    async def _post(self, node: Node, event: Event) -> Receipt:
        node.in_flight += 1
        try:
            await node.host.post(self._actions[event.subscription], event.payload)
        except OpenWhiskError as error:
            return self._refused(node, event, error)
        finally:
            node.in_flight -= 1
        node.posted += 1
        node.accepted += 1
        return Receipt.KEPT

    def _refused(self, node: Node, event: Event, error: OpenWhiskError) -> Receipt:
        if error.status in BAD_MESSAGE:
            self.left_out += 1
            log.error("%s: left out, %s refuses it: %s", event.origin, node.name, error)
            return Receipt.UNWANTED
        if error.status == 0:
            node.away = True  # until it tells its load again
        if node.error != str(error):
            log.warning("%s: %s", node.name, error)
        node.error = str(error)
        return Receipt.REFUSED


class _Load(msgspec.Struct, frozen=True):
    """What of `/edge/v1/load` is used here."""

    slots: int = UNTOLD_SLOTS
    running: int = 0
    queue: int = 0
    inbox: int = 0


def _read_load(node: Node, told: Any) -> None:
    try:
        load = msgspec.convert(told, _Load)
    except msgspec.ValidationError:  # not an agent of ours: its balancer knows
        return
    node.slots = max(1, load.slots)
    node.work = load.running + load.queue + load.inbox


class _MapState:
    """`SourceState` of a mapping file: nothing to save, nothing to send."""

    def __init__(self, bridge_map: BridgeMap) -> None:
        self._map = bridge_map
        self._notes: dict[str, bytes] = {}

    def subscriptions(self, feed: str) -> list[Subscription]:
        return [
            Subscription(
                id=entry.id,
                namespace="bridge",
                feed=feed,
                config=dict(entry.parameters),
            )
            for entry in self._map.entries
            if feed == FEED
        ]

    async def save(self, subscription: Subscription) -> None:
        """The file is what is saved."""

    async def forget(self, subscription_id: str) -> None:
        """The file is what is saved."""

    def note(self, key: str) -> bytes | None:
        return self._notes.get(key)

    def keep_note(self, key: str, doc: bytes | None, *, along: bool = False) -> None:  # noqa: ARG002 nothing to go along with
        """For as long as the bridge runs."""
        if doc is None:
            self._notes.pop(key, None)
        else:
            self._notes[key] = doc

    async def outbox(self) -> list[Outgoing]:
        return []

    def sent(self, outgoing_id: str) -> None:
        """Nothing is published from here."""


class Bridge:
    """A mapping and the hosts it leads to, until `run` is cancelled."""

    def __init__(
        self, bridge_map: BridgeMap, hosts: Sequence[Host], *, client_id: str
    ) -> None:
        self._map = bridge_map
        self.sink = FleetSink(hosts, bridge_map.entries)
        self.source = MqttSource(
            Mqtt(broker=bridge_map.broker),
            _MapState(bridge_map),
            self.sink,
            client_id=bridge_map.client_id or client_id,
        )

    async def run(self, on_connected: Callable[[dict[str, Any]], None]) -> None:
        """Bridge; `on_connected` is called once, when all is subscribed."""
        await asyncio.gather(*map(self.sink.look, self.sink.nodes))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sink.run(), name="bridge sink")
            group.create_task(self.source.run(), name="bridge source")
            await self.source.wait_until_ready()
            on_connected(self.report())

    def report(self) -> dict[str, Any]:
        """The line of `edgectl bridge run --print-json`."""
        subscriptions = [
            one for b in self.source.health()["brokers"] for one in b["subscriptions"]
        ]
        refused = [one for one in subscriptions if one["refusal"] is not None]
        return {
            "connected": self.source.ready,
            "broker": self._map.broker,
            "topics": [one["topic"] for one in subscriptions],
            "refused": [{"topic": o["topic"], "why": o["refusal"]} for o in refused],
            "nodes": [node.name for node in self.sink.nodes],
        }

    def health(self) -> dict[str, Any]:
        return {
            **self.source.health(),
            "nodes": [node.health() for node in self.sink.nodes],
            "left_out": self.sink.left_out,
        }


async def run_bridge(
    map_file: Path,
    targets: Sequence[Target],
    on_connected: Callable[[dict[str, Any]], None],
) -> None:
    """Bridge what the file says to the targets until cancelled.

    Args:
        map_file: see `bridge_map`.
        targets: the nodes; at least one.
        on_connected: gets `{"connected": true, ...}` once all is subscribed.

    Raises:
        MapError: the file is wrong.
    """
    bridge_map = read_map(map_file)
    async with AsyncExitStack() as stack:
        hosts = [
            await stack.enter_async_context(
                Client(target, retry=NO_RETRY, timeout_s=POST_TIMEOUT_S)
            )
            for target in targets
        ]
        bridge = Bridge(bridge_map, hosts, client_id=_client_id(map_file))
        await bridge.run(on_connected)


def _client_id(map_file: Path) -> str:
    """The same for the same file on the same machine, so that its session is found."""
    place = f"{platform.node()}\0{map_file.resolve()}"
    return f"edgewhisk-bridge-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
