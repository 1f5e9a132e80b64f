"""The fleet as a sink: events become invocations of actions on its nodes.

An event is KEPT only after a node answered 202, that is, after the node has it on disk;
a broadcast, after every node did that it is for. When a node is away, busy or without
the action, `bridge_route` says who is next; when nobody takes the event, it is offered
again until somebody does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from controller.bridge_map import Entry
from controller.bridge_route import Down, How, key_of, ranked
from controller.fleet.client import OpenWhiskError
from controller.fleet.target import Target
from edge_agent.events.base import Event, Receipt

#: Invocations posted at once, over all nodes.
POSTS = 64
#: A bound only: the broker holds back what is beyond the Receive Maximum.
QUEUE_MOST = 10_000
LOAD_EVERY_S = 1.0
#: Of a host that does not tell; what upstream lets a namespace run is 30.
UNTOLD_SLOTS = 16
#: Broadcasts of which some nodes have had theirs.
PARTIAL_MOST = 10_000
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
    entry: Entry
    receipt: asyncio.Future[Receipt]


class FleetSink:
    """A `Sink` that spreads events over nodes; its workers run in `run`."""

    def __init__(self, hosts: Sequence[Host], entries: Iterable[Entry]) -> None:
        self.nodes = [Node(host) for host in hosts]
        self.entries = {entry.id: entry for entry in entries}
        self._posts: asyncio.Queue[_Post] = asyncio.Queue(QUEUE_MOST)
        #: The event itself is kept: it must not lose its id to another one.
        self._partial: OrderedDict[int, tuple[Event, set[str]]] = OrderedDict()
        self.left_out = 0

    def __call__(self, event: Event) -> asyncio.Future[Receipt]:
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        entry = self.entries.get(event.subscription)
        if entry is None:  # gone with a reload; its like may be in the new file
            receipt.set_result(Receipt.UNWANTED)
            return receipt
        try:
            self._posts.put_nowait(_Post(event, entry, receipt))
        except asyncio.QueueFull:
            receipt.set_result(Receipt.REFUSED)
        return receipt

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
            if post.entry.route.how is How.BROADCAST:
                receipt = await self._broadcast(post.event, post.entry)
            else:
                receipt = await self._place(post.event, post.entry)
            if not post.receipt.done():
                post.receipt.set_result(receipt)

    async def _place(self, event: Event, entry: Entry) -> Receipt:
        """Try the nodes that there are for it, the best one first."""
        key = key_of(entry.route, event.payload)
        if entry.route.how is How.TOPIC and not self._knows(key):
            return self._leave_out(event, f"there is no node {key!r}")
        tried: set[int] = set()
        while True:
            order = ranked(entry.route, self.nodes, key)
            node = next((one for one in order if id(one) not in tried), None)
            if node is None:
                return Receipt.REFUSED
            tried.add(id(node))
            receipt = await self._post(node, event, entry)
            if receipt is not Receipt.REFUSED:
                return receipt

    def _knows(self, name: str) -> bool:
        return any(node.name == name for node in self.nodes)

    # --- broadcasts -----------------------------------------------------------------

    async def _broadcast(self, event: Event, entry: Entry) -> Receipt:
        """To every node that has not had it: those that refuse get it later."""
        _, had = self._partial.pop(id(event), (event, set()))
        waits = entry.route.down is Down.WAIT
        missing = [node for node in self.nodes if node.name not in had]
        asked = [node for node in missing if waits or not node.away]
        receipts = await asyncio.gather(
            *(self._post(node, event, entry) for node in asked)
        )
        for node, receipt in zip(asked, receipts, strict=True):
            if receipt is not Receipt.REFUSED:
                had.add(node.name)
        here = [node for node in self.nodes if waits or not node.away]
        if not had or any(node.name not in had for node in here):
            self._remember(event, had)
            return Receipt.REFUSED
        return Receipt.KEPT

    def _remember(self, event: Event, had: set[str]) -> None:
        self._partial[id(event)] = event, had
        if len(self._partial) > PARTIAL_MOST:
            self._partial.popitem(last=False)

    # --- one node -------------------------------------------------------------------

    async def _post(self, node: Node, event: Event, entry: Entry) -> Receipt:
        node.in_flight += 1
        try:
            await node.host.post(entry.action, event.payload)
        except OpenWhiskError as error:
            return self._refused(node, event, error)
        finally:
            node.in_flight -= 1
        node.posted += 1
        node.accepted += 1
        return Receipt.KEPT

    def _refused(self, node: Node, event: Event, error: OpenWhiskError) -> Receipt:
        if error.status in BAD_MESSAGE:
            return self._leave_out(event, f"{node.name} refuses it: {error}")
        if error.status == 0:
            node.away = True  # until it tells its load again
        if node.error != str(error):
            log.warning("%s: %s", node.name, error)
        node.error = str(error)
        return Receipt.REFUSED

    def _leave_out(self, event: Event, why: str) -> Receipt:
        self.left_out += 1
        log.error("%s: left out, %s", event.origin, why)
        return Receipt.UNWANTED


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
