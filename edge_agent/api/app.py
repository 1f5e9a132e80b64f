"""The HTTP server: what it needs, and how it is put together.

aiohttp's low-level server with one handler for every request. An `aiohttp.web`
application would resolve each path with regular expressions, build middlewares and two
more objects per request (16 of 58 us), and its patterns cannot say what OpenWhisk's
paths mean (A10, A13, A25, A62): `router` does both.
"""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_request import BaseRequest

from edge_agent.api.answers import failed, refusal
from edge_agent.api.call import Call, Services, transaction_id
from edge_agent.api.router import dispatch
from edge_agent.model.errors import RequestError, Unavailable

__all__ = ["Services", "make_metrics_runner", "make_runner"]

#: A longer request line is answered by aiohttp; up to here it is a 414 of ours (A7).
LINE_BYTES = 128 << 10
HEADER_BYTES = 32 << 10
#: Read ahead of a handler, per connection: a payload of 1 MB takes four pieces.
READ_BYTES = 256 << 10
#: An idle connection is closed after this long (A7).
IDLE_S = 70.0

#: What the second listener has.
METRICS_PATHS = ("/ping", "/metrics")
_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))

log = logging.getLogger(__name__)


def make_runner(services: Services) -> web.ServerRunner:
    """A runner to be set up and given sites, as aiohttp's own.

    Its `cleanup` closes the live streams at once, lets other requests finish within
    `server.stop_timeout_s`, then cancels them.
    """
    return _make_runner(services, everything=True)


def make_metrics_runner(services: Services) -> web.ServerRunner:
    """A runner that serves `/ping` and `/metrics` only, under the same rules."""
    return _make_runner(services, everything=False)


def _make_runner(services: Services, *, everything: bool) -> web.ServerRunner:
    counts = services.engine.metrics.http

    async def handle(request: BaseRequest) -> web.StreamResponse:
        if not everything and request.path not in METRICS_PATHS:
            return web.Response(status=404)
        response = await answer(services, request)
        counts[_known(request.method), response.status] += 1
        return response

    http_log = logging.getLogger("edge_agent.http")
    http_log.addFilter(_without_traceback)
    server = web.Server(
        handle,
        access_log=None,
        logger=http_log,
        keepalive_timeout=IDLE_S,
        max_line_size=LINE_BYTES,
        max_field_size=HEADER_BYTES,
        read_bufsize=READ_BYTES,
    )
    return _Runner(
        server,
        services,
        shutdown_timeout=services.settings.server.stop_timeout_s,
    )


async def answer(services: Services, request: BaseRequest) -> web.StreamResponse:
    """The one place where an error becomes an answer (A5)."""
    call = Call(services, request, transaction_id(request.headers))
    try:
        return await dispatch(call)
    except (RequestError, Unavailable) as error:
        return refusal(call, error)
    except web.RequestPayloadError as error:
        return failed(call, 400, f"The request content was malformed:\n{error}")
    except ConnectionError as error:  # the caller has gone: nobody reads this
        return failed(call, 400, str(error))
    except Exception:  # one of the three edges: our fault, the caller gets A5
        log.exception(
            "%s %s failed [%s]", request.method, request.path, call.transaction_id
        )
        return failed(call, 500, "There was an internal server error.")


def _known(method: str) -> str:
    """A caller may send any word as a method: no more series for that."""
    return method if method in _METHODS else "OTHER"


def _without_traceback(record: logging.LogRecord) -> bool:
    """A caller that does not speak HTTP is worth a line, not a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info = None
        record.msg = f"{record.msg}: {type(error).__name__}"
    return True


class _Runner(web.ServerRunner):
    def __init__(
        self, server: web.Server, services: Services, *, shutdown_timeout: float
    ) -> None:
        super().__init__(server, shutdown_timeout=shutdown_timeout)
        self._services = services

    async def shutdown(self) -> None:
        self._services.stopping.set()
        await super().shutdown()
