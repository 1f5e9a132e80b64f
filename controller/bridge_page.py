"""The bridge's own page: `GET /health` and `GET /metrics` (Prometheus' text form)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from edge_agent.model.errors import EdgeWhiskError

METRICS_TYPE = "text/plain; version=0.0.4"
#: Of a connection: what is counted since the start, and what is now.
COUNTED = (
    "received",
    "acknowledged",
    "unwanted",
    "refused",
    "malformed",
    "filtered",
    "retained",
    "throttled",
    "debounced",
    "published",
    "failed",
)
PRESENT = ("held", "paced", "waiting", "dropped_by_broker")

Health = Callable[[], Mapping[str, Any]]


class PageError(EdgeWhiskError):
    """The page cannot be served there."""

    exit_code = 2


@asynccontextmanager
async def serve_page(health: Health, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve; the URL. Port 0 lets the system choose.

    Raises:
        PageError: the address is taken.
    """

    async def tell(_: web.BaseRequest) -> web.Response:
        told = health()
        body = msgspec.json.encode(told)
        status = 200 if told["healthy"] else 503
        return web.Response(body=body, status=status, content_type="application/json")

    async def measure(_: web.BaseRequest) -> web.Response:
        text = metrics(health())
        return web.Response(text=text, headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.router.add_get("/health", tell)
    app.router.add_get("/metrics", measure)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            text = f"cannot listen on {host}:{port}: {error.strerror}"
            raise PageError(text) from error
        number = runner.addresses[0][1]
        yield f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"
    finally:
        await runner.cleanup()


def metrics(health: Mapping[str, Any]) -> str:
    return "".join(f"{line}\n" for line in _lines(health))


def _lines(health: Mapping[str, Any]) -> Iterator[str]:
    yield "# TYPE edgewhisk_bridge_connected gauge"
    for broker in health["brokers"]:
        up = int(broker["state"] == "connected")
        yield f"edgewhisk_bridge_connected{_labels(broker=broker['broker'])} {up}"
    yield from _of_brokers(health, "messages_total", "counter", COUNTED)
    yield from _of_brokers(health, "messages", "gauge", PRESENT)
    yield "# TYPE edgewhisk_bridge_left_out_total counter"
    yield f"edgewhisk_bridge_left_out_total {health['left_out']}"
    for key, kind in (
        ("away", "gauge"),
        ("in_flight", "gauge"),
        ("accepted", "counter"),
    ):
        name = f"edgewhisk_bridge_node_{key}{'_total' if kind == 'counter' else ''}"
        yield f"# TYPE {name} {kind}"
        for node in health["nodes"]:
            yield f"{name}{_labels(node=node['name'])} {int(node[key])}"
    yield "# TYPE edgewhisk_bridge_runs gauge"
    for key, value in health["runs"].items():
        yield f"edgewhisk_bridge_runs{_labels(state=key)} {value}"


def _of_brokers(
    health: Mapping[str, Any], name: str, kind: str, keys: tuple[str, ...]
) -> Iterator[str]:
    yield f"# TYPE edgewhisk_bridge_{name} {kind}"
    for broker in health["brokers"]:
        for key in keys:
            value = broker.get(key)
            if value is not None:
                labels = _labels(broker=broker["broker"], what=key)
                yield f"edgewhisk_bridge_{name}{labels} {value}"


def _labels(**labels: str) -> str:
    pairs = (
        f"{key}={msgspec.json.encode(text).decode()}" for key, text in labels.items()
    )
    return f"{{{','.join(pairs)}}}"
