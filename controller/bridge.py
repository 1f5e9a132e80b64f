"""The bridge: MQTT messages become invocations of actions somewhere in the fleet.

It is the agent's own MQTT source with another sink: `bridge_sink` for actions,
`bridge_jobs` for map-reduce runs. A message is acknowledged to the broker only after a
node has it on disk, or the run's first record is. Several bridges that share their
subscriptions (`share`) divide the messages among them; what one does not acknowledge
before it dies goes to another.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

from controller.bridge_jobs import JobDesk
from controller.bridge_map import (
    NAMESPACE,
    BridgeMap,
    Entry,
    MapError,
    check_map,
    read_map,
)
from controller.bridge_page import serve_page
from controller.bridge_sink import FleetSink, Host
from controller.fleet.client import NO_RETRY, Client
from controller.fleet.local_state import data_home
from controller.fleet.target import Target
from edge_agent.events.base import (
    BuiltinError,
    Event,
    Outgoing,
    Receipt,
    Subscription,
)
from edge_agent.events.mqtt import FEED, Mqtt, MqttSource, Secrets

__all__ = ["Bridge", "FleetSink", "check_map", "run_bridge"]

POST_TIMEOUT_S = 15.0
SECRETS = "secrets"

log = logging.getLogger(__name__)


class _MapState:
    """`NotedState` of a mapping file: nothing to save, nothing to send."""

    def __init__(self, bridge_map: BridgeMap) -> None:
        self._map = bridge_map
        self._notes: dict[str, bytes] = {}

    def subscriptions(self, feed: str) -> list[Subscription]:
        return [subscription_of(entry) for entry in self._map.entries if feed == FEED]

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

    async def outbox(self, after: str, *, most: int) -> list[Outgoing]:  # noqa: ARG002 there is none
        return []

    def sent(self, outgoing_id: str) -> None:
        """Results of runs are sent with a receipt of their own."""


def subscription_of(entry: Entry) -> Subscription:
    return Subscription(
        id=entry.id, namespace=NAMESPACE, feed=FEED, config=dict(entry.parameters)
    )


class Bridge:
    """A mapping and the hosts it leads to, until `run` is cancelled."""

    def __init__(
        self,
        bridge_map: BridgeMap,
        hosts: Sequence[Host],
        *,
        client_id: str,
        folder: Path,
        secrets: Path | None = None,
    ) -> None:
        """Store what it needs.

        Args:
            bridge_map: what goes where.
            hosts: the nodes; at least one.
            client_id: no other client's, and the same after a restart.
            folder: where unfinished runs are kept.
            secrets: the folder of secrets, if there is one.
        """
        self._map = bridge_map
        self.sink = FleetSink(hosts, bridge_map.entries)
        self.source = MqttSource(
            Mqtt(broker=bridge_map.broker),
            _MapState(bridge_map),
            self._take,
            client_id=client_id,
            secrets=Secrets(secrets),
        )
        targets = [host.target for host in hosts]
        self.desk = JobDesk(folder, targets, publish=self.source.send)

    async def run(self, on_connected: Callable[[dict[str, Any]], None]) -> None:
        """Bridge; `on_connected` is called once, when all is subscribed."""
        await asyncio.gather(*map(self.sink.look, self.sink.nodes))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sink.run(), name="bridge sink")
            group.create_task(self.desk.run(), name="bridge jobs")
            group.create_task(self.source.run(), name="bridge source")
            await self.source.wait_until_ready()
            on_connected(self.report())

    def reload(self, bridge_map: BridgeMap) -> None:
        """Follow another version of the file; entries that it still has go on."""
        before, after = self.sink.entries, {one.id: one for one in bridge_map.entries}
        self._map = bridge_map
        # New ones first: what is between the two comes twice rather than not at all.
        self.sink.entries = {**before, **after}
        for name in after.keys() - before.keys():
            try:
                self.source.subscribe(subscription_of(after[name]))
            except BuiltinError as error:
                log.error("%s: %s", name, error)  # noqa: TRY400 the file's fault
        for name in before.keys() - after.keys():
            self.source.unsubscribe(name)
        self.sink.entries = after

    def _take(self, event: Event) -> asyncio.Future[Receipt]:
        entry = self.sink.entries.get(event.subscription)
        if entry is not None and entry.job is not None:
            return self.desk.take(event, entry)
        return self.sink(event)

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
        """Healthy: connected to every broker, and a node is there."""
        return {
            "healthy": self.source.ready and not all(n.away for n in self.sink.nodes),
            **self.source.health(),
            "nodes": [node.health() for node in self.sink.nodes],
            "runs": self.desk.health(),
            "left_out": self.sink.left_out,
        }


class _Place(NamedTuple):
    """Who a bridge is, and where its folders are."""

    client_id: str
    runs: Path
    secrets: Path


class BridgeProcess:
    """What `edgectl bridge run` runs: a bridge of a file, and its page."""

    def __init__(
        self,
        map_file: Path,
        targets: Sequence[Target],
        *,
        client_id: str | None = None,
        listen: tuple[str, int] | None = None,
    ) -> None:
        self._file = map_file
        self._targets = targets
        self._client_id = client_id
        self._listen = listen
        self._stale = asyncio.Event()

    async def run(self, on_connected: Callable[[dict[str, Any]], None]) -> None:
        """Until cancelled.

        Raises:
            MapError: the file is wrong.
        """
        place = await asyncio.to_thread(self._place)
        bridge_map = await asyncio.to_thread(read_map, self._file)
        async with AsyncExitStack() as stack:
            hosts = [
                await stack.enter_async_context(
                    Client(target, retry=NO_RETRY, timeout_s=POST_TIMEOUT_S)
                )
                for target in self._targets
            ]
            bridge = Bridge(
                bridge_map,
                hosts,
                client_id=place.client_id,
                folder=place.runs,
                secrets=place.secrets,
            )
            page: dict[str, str] = {}
            if self._listen is not None:
                host, port = self._listen
                serving = serve_page(bridge.health, host=host, port=port)
                page["page"] = await stack.enter_async_context(serving)
            reloading = asyncio.create_task(self._reload(bridge), name="bridge reload")
            stack.callback(reloading.cancel)
            await bridge.run(lambda report: on_connected({**report, **page}))

    def _place(self) -> _Place:
        client_id = self._client_id or _client_id(self._file)
        return _Place(
            client_id,
            data_home(os.environ, Path.home()) / "bridge" / client_id,
            self._file.absolute().parent / SECRETS,
        )

    def reload(self) -> None:
        """Have the file read again; one that is wrong changes nothing."""
        self._stale.set()

    async def _reload(self, bridge: Bridge) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                bridge_map = await asyncio.to_thread(read_map, self._file)
            except MapError as error:
                log.error("not reloaded: %s", error)  # noqa: TRY400 the user's mistake
                continue
            bridge.reload(bridge_map)
            log.info("reloaded %s: %d entries", self._file, len(bridge_map.entries))


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
    await BridgeProcess(map_file, targets).run(on_connected)


def _client_id(map_file: Path) -> str:
    """The same for the same file on the same machine, so that its session is found."""
    place = f"{platform.node()}\0{map_file.resolve()}"
    return f"edgewhisk-bridge-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
