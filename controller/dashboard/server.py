"""The dashboard's web server: a page without a build step, and what it asks for.

    GET  /                              the page
    GET  /api/fleet                     nodes, rates, the last activations
    GET  /api/news                      the same as it changes (server-sent events)
    GET  /api/node/NODE                 all that a node tells of itself
    GET  /api/activation/NODE/ID        one activation with its result and logs
    GET  /api/dead/NODE                 events that wait, and dead letters
    POST /api/dead/NODE/ID  DELETE ...  replay one, drop one
    POST /api/run/NODE/ACTION           run an action with the JSON of the body
    POST /login                         {"key"}: a session, where one is needed

What a node answers is passed on as JSON only; the page takes none of it for markup.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import msgspec
from aiohttp import web
from msgspec.structs import replace

from controller.dashboard.guard import COOKIE, KEY_HEADER, Asked, Guard
from controller.dashboard.live import Live
from controller.fleet.client import Client
from controller.fleet.events import drop_event, list_events, replay_event
from controller.fleet.transport import OpenWhiskError
from edge_agent.model.activations import ActivationRecord
from edge_agent.model.errors import EdgeWhiskError

#: Results and logs are shown up to this; the rest stays on the node.
SHOWN_BYTES = 256 * 1024
EVENTS = 200
BEAT_S = 15.0
STOP_TIMEOUT_S = 2.0
_PAGE = {
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_SAFE = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DashboardError(EdgeWhiskError):
    """The page cannot be served there."""

    exit_code = 2


class Dashboard:
    """The handlers; a request meets the guard before any of them."""

    def __init__(self, live: Live, guard: Guard) -> None:
        self._live = live
        self._guard = guard
        self._stopping = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded], client_max_size=1 << 20)
        for path in _PAGE:
            app.router.add_get(path, self._page)
        add = app.router.add_route
        add("POST", "/login", self._login)
        add("GET", "/api/fleet", self._fleet)
        add("GET", "/api/news", self._news)
        add("GET", "/api/node/{node}", self._node)
        add("GET", "/api/activation/{node}/{id}", self._activation)
        add("GET", "/api/dead/{node}", self._dead)
        add("POST", "/api/dead/{node}/{id}", self._replay)
        add("DELETE", "/api/dead/{node}/{id}", self._drop)
        add("POST", "/api/run/{node}/{action:.+}", self._run)
        app.on_shutdown.append(self._stop)
        return app

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        refused = None
        if request.path not in {*_PAGE, "/login"} or request.method != "GET":
            refused = self._guard.refusal(_asked(request))
        if request.path == "/login" and refused and refused[0] != 421:  # noqa: PLR2004
            refused = None
        try:
            answer = _error(*refused) if refused else await handler(request)
        except OpenWhiskError as error:
            answer = _error(error.status or 502, str(error))
        except web.HTTPException as error:
            answer = _error(error.status, error.reason)
        if not answer.prepared:
            answer.headers.update(_SAFE)
        return answer

    async def _page(self, request: web.Request) -> web.Response:
        name, kind = _PAGE[request.path]
        text = files(__package__).joinpath("page", name).read_text()
        return web.Response(text=text, content_type=kind)

    async def _login(self, request: web.Request) -> web.Response:
        session = self._guard.login(str((await _body(request)).get("key", "")))
        if session is None:
            return _error(403, "this is no key of the fleet")
        answer = _json({"in": True})
        answer.set_cookie(
            COOKIE, session, httponly=True, samesite="Strict", secure=request.secure
        )
        return answer

    async def _fleet(self, _: web.Request) -> web.Response:
        live = self._live
        nodes = [{"name": name, **self._told(name)} for name in live.clients]
        rows = [asdict(row) for row in live.rows]
        return _json({"nodes": nodes, "rows": rows, "changes": self._guard.changes})

    def _told(self, name: str) -> dict[str, Any]:
        node = self._live.nodes.get(name)
        rate = {"rate_per_s": self._live.rate_per_s(name)}
        return {"up": None, **rate} if node is None else {**asdict(node), **rate}

    async def _news(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", **_SAFE}
        )
        await answer.prepare(request)
        # Whoever closes the page is in the middle of being told something.
        with self._live.looking() as looker, contextlib.suppress(ConnectionError):
            while not self._stopping.is_set():
                text = b": beat\n\n"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        text = self._line(*await looker.news.get(), looker.missed)
                await answer.write(text)
        return answer

    def _line(self, kind: str, what: Any, missed: int) -> bytes:
        told = asdict(what)
        if kind == "node":
            told["rate_per_s"] = self._live.rate_per_s(what.name)
        data = msgspec.json.encode({**told, "missed": missed})
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)

    async def _node(self, request: web.Request) -> web.Response:
        return _json(await self._client(request).edge("node"))

    async def _activation(self, request: web.Request) -> web.Response:
        client = self._client(request)
        record = await client.get_activation(request.match_info["id"])
        return _json(_shown(record))

    async def _dead(self, request: web.Request) -> web.Response:
        client = self._client(request)
        return _json(await list_events(client, state="", limit=EVENTS))

    async def _replay(self, request: web.Request) -> web.Response:
        client = self._client(request)
        return _json(await replay_event(client, request.match_info["id"]))

    async def _drop(self, request: web.Request) -> web.Response:
        await drop_event(self._client(request), request.match_info["id"])
        return _json({"dropped": request.match_info["id"]})

    async def _run(self, request: web.Request) -> web.Response:
        client, action = self._client(request), request.match_info["action"]
        outcome = await client.invoke(action, msgspec.json.encode(await _body(request)))
        return _json({"id": outcome.activation_id, "success": outcome.success})

    def _client(self, request: web.Request) -> Client:
        name = request.match_info["node"]
        client = self._live.clients.get(name)
        if client is None:
            raise OpenWhiskError(404, f"no node {name}")
        return client

    async def _stop(self, _: web.Application) -> None:
        self._stopping.set()


@contextlib.asynccontextmanager
async def serve(
    live: Live, guard: Guard, *, host: str, port: int
) -> AsyncIterator[str]:
    """Serve; the URL. Port 0 lets the system choose.

    Raises:
        DashboardError: the address is taken, or is none of this machine.
    """
    app = Dashboard(live, guard).app()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_TIMEOUT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound[1]}"
    except OSError as error:
        raise DashboardError(f"cannot listen on {host}:{port}: {error}") from error
    finally:
        await runner.cleanup()


def _asked(request: web.Request) -> Asked:
    return Asked(
        method=request.method,
        host=request.headers.get("Host", ""),
        origin=request.headers.get("Origin", ""),
        cookie=request.cookies.get(COOKIE, ""),
        key=request.headers.get(KEY_HEADER, ""),
    )


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise OpenWhiskError(400, f"not a JSON object: {error}") from error


def _json(value: Any) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, content_type="application/json")


def _error(status: int, text: str) -> web.Response:
    answer = _json({"error": text})
    answer.set_status(status)
    return answer


def _shown(record: ActivationRecord) -> dict[str, Any]:
    """A record of which result and logs are no more than can be looked at."""
    logs, left_out = _cut(record.logs)
    result = bytes(record.response.result)
    whole = len(result) <= SHOWN_BYTES
    if not whole:
        start = result[:SHOWN_BYTES].decode(errors="replace")
        cut = msgspec.Raw(msgspec.json.encode(start))
        record = replace(record, response=replace(record.response, result=cut))
    known: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(replace(record, logs=logs))
    )
    told = {"logs_left_out": left_out, "result_bytes": len(result)}
    return {**known, **told, "result_whole": whole}


def _cut(lines: list[str]) -> tuple[list[str], int]:
    """The last lines that fit, and how many are before them."""
    size, kept = 0, 0
    for line in reversed(lines):
        size += len(line)
        if size > SHOWN_BYTES:
            break
        kept += 1
    return lines[len(lines) - kept :], len(lines) - kept
