"""The HTTP server: what it needs, and how it is put together.

aiohttp's low-level server with one handler for every request. An `aiohttp.web`
application would resolve each path with regular expressions, build middlewares and two
more objects per request (16 of 58 us), and its patterns cannot say what OpenWhisk's
paths mean (A10, A13, A25, A62): `router` does both.
"""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.web_request import BaseRequest

from edge_agent.api.answers import failed, refusal
from edge_agent.api.call import Call, Services, transaction_id
from edge_agent.api.connection import ConnectionServer, malformed_text
from edge_agent.api.router import dispatch
from edge_agent.model.errors import RequestError, Unavailable

__all__ = ["Services", "make_metrics_runner", "make_runner"]

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

    settings = services.settings.server
    return _Runner(
        ConnectionServer(handle, settings),
        services,
        shutdown_timeout=settings.stop_timeout_s,
    )


async def answer(services: Services, request: BaseRequest) -> web.StreamResponse:
    """The one place where an error becomes an answer (A5)."""
    call = Call(services, request, transaction_id(request.headers))
    traces = services.engine.traces
    if traces is not None:
        traces.arrived(request.headers.get("traceparent"), call.transaction_id)
    try:
        return await dispatch(call)
    except (RequestError, Unavailable) as error:
        return refusal(call, error)
    except web.RequestPayloadError as error:
        text = f"The request content was malformed:\n{malformed_text(error)}"
        return failed(call, 400, text)
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


class _Runner(web.ServerRunner):
    def __init__(
        self, server: web.Server, services: Services, *, shutdown_timeout: float
    ) -> None:
        super().__init__(server, shutdown_timeout=shutdown_timeout)
        self._services = services

    async def shutdown(self) -> None:
        self._services.stopping.set()
        await super().shutdown()
