"""A connection of the API's server: what aiohttp's own leaves open.

Whoever does not speak HTTP is refused as everybody is (A5), and costs a line of the log
at most. A head that has begun must be whole after `server.head_timeout_s`. At most
`server.connections` are open: the one that has kept us waiting for longest makes room,
and when none waits, because all are at work, the new one is told so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from edge_agent.api.call import REQUEST_ID
from edge_agent.api.media import JSON
from edge_agent.api.written import Written
from edge_agent.model.names import new_activation_id
from edge_agent.settings import Server as ServerSettings

#: A longer request line is refused here; up to here it is a 414 of the router's (A7).
LINE_BYTES = 128 << 10
HEADER_BYTES = 32 << 10
#: Read ahead of a handler, per connection: a payload of 1 MB takes four pieces.
READ_BYTES = 256 << 10
#: The rest of a body that was refused is read for so long, so that the answer is heard.
LINGER_S = 5.0
#: So much of what the parser says is told, which cites the request.
TOLD_CHARACTERS = 200

log = logging.getLogger("edge_agent.http")
_encode = msgspec.json.Encoder().encode


class ConnectionServer(web.Server):
    """Makes the connections, and knows how many there are."""

    def __init__(
        self,
        handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]],
        settings: ServerSettings,
    ) -> None:
        super().__init__(handler)
        self._settings = settings

    def __call__(self) -> RequestHandler:
        return Connection(self, self._settings)

    def has_room(self) -> bool:
        """Whether one more may come, after one that waits has gone for it."""
        if len(self.connections) < self._settings.connections:
            return True
        waiting = [c for c in self.connections if isinstance(c, Connection) and c.waits]
        if waiting:
            min(waiting, key=lambda one: one.waits_until).force_close()
        return bool(waiting)


class Connection(RequestHandler):
    """`waits`: for a request, or for the rest of its head."""

    __slots__ = ("_head_timeout_s", "_head_timer", "_server", "_taken")

    def __init__(self, server: ConnectionServer, settings: ServerSettings) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=cast("logging.Logger", None),
            logger=log,
            keepalive_timeout=settings.idle_timeout_s,
            max_line_size=LINE_BYTES,
            max_field_size=HEADER_BYTES,
            read_bufsize=READ_BYTES,
            lingering_time=LINGER_S,
        )
        self._server = server
        self._head_timeout_s = settings.head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._taken = False

    @property
    def waits(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    @property
    def waits_until(self) -> float:
        """When its patience ends; those that began to wait first come first."""
        return self._next_keepalive_close_time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._taken = self._server.has_room()
        if self._taken:
            super().connection_made(transport)
        else:
            told = cast("asyncio.Transport", transport)
            told.write(_refused(503, "Too many connections.").to_bytes())
            told.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        if self._taken:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._taken:
            return
        super().data_received(data)
        if not self.waits:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self._loop.call_later(
                self._head_timeout_s, self._on_late_head
            )

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 it is the error's
    ) -> web.StreamResponse:
        """The answer to what is no request, after which the connection is closed."""
        self.log_exception("refused %s", request.remote, exc_info=exc)
        if request.writer.output_size:
            raise ConnectionError("an answer has begun already")
        if isinstance(exc, HttpProcessingError):
            return _refused(status, f"The request was malformed: {_first_line(exc)}")
        return _refused(status, "There was an internal server error.")

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A caller that does not speak HTTP is not worth a traceback."""
        error = kw.get("exc_info")
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
            log.info("a request was no HTTP: %s", _first_line(error))
        else:
            super().log_exception(*args, **kw)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_late_head(self) -> None:
        self._head_timer = None
        if self.waits and self.transport is not None:
            late = _refused(408, "The request's head did not arrive in time.")
            self.transport.write(late.to_bytes())
            self.force_close()


def _refused(status: int, text: str) -> Written:
    """As A5 has it, of a request that has no call."""
    code = new_activation_id()
    body = _encode({"error": text, "code": code})
    fixed = (("Content-Type", JSON),)
    refused = Written(status, body, fixed=fixed, lines=((REQUEST_ID, code),))
    refused.force_close()
    return refused


def malformed_text(error: BaseException) -> str:
    """What aiohttp says of a body, without the status that it would give it."""
    return " ".join(str(error).removeprefix("400, message:").split())


def _first_line(error: BaseException) -> str:
    """What aiohttp says without the piece of the request that it shows below."""
    message = getattr(error, "message", "") or malformed_text(error)
    first = message.strip().partition("\n")[0].rstrip(":")
    return first.encode("ascii", "replace").decode()[:TOLD_CHARACTERS]
