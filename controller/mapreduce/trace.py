"""A run as the root of a trace: its chunks are in it, on whatever node they run.

Every invocation of a chunk is sent with the run's `traceparent`, which a node that
traces goes on with. The run's own span goes where OpenTelemetry's usual variables say
(`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT`), and nowhere
without them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from edge_agent.model.spans import Context, Span, otlp_json, span_id_within, trace_id_of

TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


def context_of(run_id: str) -> Context:
    return Context(trace_id_of(run_id), span_id_within(run_id, "run"))


def endpoint(environ: Mapping[str, str]) -> str:
    own = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return own or (f"{base.rstrip('/')}/v1/traces" if base else "")


@asynccontextmanager
async def traced(
    run_id: str, *, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[None]:
    """Tell of what is done within; a collector that is away costs a warning."""
    url = endpoint(environ)
    if not url:
        yield
        return
    began_ms, error = time.time() * 1000, ""
    try:
        yield
    except BaseException as reason:
        error = str(reason) or type(reason).__name__
        raise
    finally:
        span = Span(
            context=context_of(run_id),
            parent="",
            name=f"map-reduce {run_id}",
            start_ms=began_ms,
            end_ms=time.time() * 1000,
            attributes={"edgewhisk.run": run_id},
            error=error,
        )
        await _send(url, otlp_json([span], resource={"service.name": "edgectl"}))


async def _send(url: str, body: bytes) -> None:
    # Only here: edgectl has no session of its own for strangers.
    import aiohttp  # noqa: PLC0415

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    headers = {"Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers) as answer,
        ):
            answer.raise_for_status()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        _log.warning("the trace of the run is not taken by %s: %s", url, error)
