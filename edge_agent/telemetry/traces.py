"""Traces: spans of triggers, rules, actions and sequences, sent to a collector.

Only where `tracing.endpoint` names one; otherwise there is no `Traces` at all. Spans
are made when something has ended and gathered in a bounded queue; one task sends them
as OTLP over HTTP. What a collector does not take is dropped and counted: a trace is
worth nobody's waiting.

A trace is that of a transaction, so whatever passes `X-Request-ID` on (the npm client
does) is in one trace; a caller that has a trace of its own sends `traceparent`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any

import aiohttp

from edge_agent.model.activations import ActivationRecord
from edge_agent.model.jobs import Finished, Job
from edge_agent.model.spans import (
    Context,
    Kind,
    Span,
    otlp_json,
    parse_traceparent,
    span_id_of,
    span_id_within,
    trace_id_of,
)
from edge_agent.settings import Tracing

SPANS_MOST, SPANS_AT_ONCE = 8192, 512
#: Callers whose trace is remembered until their activations have ended.
CALLERS_MOST = 4096
PAUSE_S, PAUSE_AFTER_FAILURE_S = 0.5, 10.0
TIMEOUT_S = 10.0
RULE = "rule"

log = logging.getLogger(__name__)


class Traces:
    def __init__(self, settings: Tracing, *, node: str, version: str) -> None:
        self._settings = settings
        self._resource = {
            "service.name": settings.service,
            "service.version": version,
            "host.name": node,
        }
        self._spans: deque[Span] = deque()
        self._callers: OrderedDict[str, Context] = OrderedDict()
        self._due = asyncio.Event()
        self._told = False
        self.sent = self.dropped = 0

    # -- what happens -------------------------------------------------------------

    def arrived(self, traceparent: str | None, transaction_id: str) -> None:
        """A call begins whose caller may have a trace of its own."""
        caller = parse_traceparent(traceparent)
        if caller is not None:
            self._callers[transaction_id] = caller
            if len(self._callers) > CALLERS_MOST:
                self._callers.popitem(last=False)

    def fired(
        self,
        record: ActivationRecord,
        started: Iterable[tuple[str, str]],
        transaction_id: str,
    ) -> None:
        """A trigger was fired; `started` are activation ids and their rules."""
        own, parent = self._place(record.activation_id, transaction_id)
        trigger = f"{record.namespace}/{record.name}"
        at_ms = record.start
        self._add(
            Span(
                context=own,
                parent=parent,
                name=f"trigger {trigger}",
                kind=Kind.PRODUCER,
                start_ms=at_ms,
                end_ms=at_ms,
                attributes={
                    "openwhisk.trigger": trigger,
                    "openwhisk.activation_id": record.activation_id,
                },
            )
        )
        for activation_id, rule in started:
            self._add(
                Span(
                    context=Context(own.trace_id, span_id_within(activation_id, RULE)),
                    parent=own.span_id,
                    name=f"rule {rule}",
                    start_ms=at_ms,
                    end_ms=at_ms,
                    attributes={"openwhisk.rule": rule},
                )
            )

    def ended(self, job: Job, finished: Finished, *, rule: str | None) -> None:
        """A run has ended; of a sequence or composition, after its components."""
        own, parent = self._place(job.activation_id, job.transaction_id)
        if job.cause is not None:
            parent = span_id_of(job.cause)
        elif rule:
            parent = span_id_within(job.activation_id, RULE)
        took_ms = finished.run_ms + (finished.init_ms or 0)
        end_ms = finished.start_ms + took_ms
        if finished.composed is not None:
            end_ms = max(end_ms, finished.composed.end_ms)
        response = finished.response
        self._add(
            Span(
                context=own,
                parent=parent,
                name=f"action {job.action.full_name}",
                kind=Kind.CONSUMER if rule else Kind.SERVER,
                start_ms=finished.start_ms,
                end_ms=end_ms,
                attributes=_attributes(job, finished),
                error="" if response.success else response.status,
            )
        )
        if finished.init_ms is not None:
            self._add(_init(job, finished, own))

    # -- the sending --------------------------------------------------------------

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._due.wait()
                self._due.clear()
                await asyncio.sleep(PAUSE_S)
                while self._spans:
                    if not await self._send(session):
                        await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    def health(self) -> dict[str, Any]:
        return {
            "endpoint": self._settings.endpoint,
            "sent": self.sent,
            "dropped": self.dropped,
            "waiting": len(self._spans),
        }

    async def _send(self, session: aiohttp.ClientSession) -> bool:
        spans = [
            self._spans.popleft() for _ in range(min(SPANS_AT_ONCE, len(self._spans)))
        ]
        body = otlp_json(spans, resource=self._resource)
        try:
            async with session.post(
                self._settings.endpoint,
                data=body,
                headers={"Content-Type": "application/json", **self._settings.headers},
            ) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.dropped += len(spans)
            if not self._told:
                log.warning(
                    "traces are not taken by %s: %s", self._settings.endpoint, error
                )
            self._told = True
            return False
        self.sent += len(spans)
        self._told = False
        return True

    def _place(self, activation_id: str, transaction_id: str) -> tuple[Context, str]:
        """Its own context, and the span of whoever called, if that is known."""
        caller = self._callers.get(transaction_id)
        span_id = span_id_of(activation_id)
        if caller is None:
            return Context(trace_id_of(transaction_id), span_id), ""
        return Context(caller.trace_id, span_id), caller.span_id

    def _add(self, span: Span) -> None:
        if len(self._spans) >= SPANS_MOST:
            self._spans.popleft()
            self.dropped += 1
        self._spans.append(span)
        self._due.set()


def _attributes(job: Job, finished: Finished) -> dict[str, str | int | bool]:
    name = job.action.full_name
    return {
        "openwhisk.namespace": name.namespace,
        "openwhisk.action": name.within,
        "openwhisk.kind": job.action.exec.kind,
        "openwhisk.activation_id": job.activation_id,
        "openwhisk.transaction_id": job.transaction_id,
        "openwhisk.start": finished.start,
        "openwhisk.wait_ms": finished.wait_ms,
        "openwhisk.status": finished.response.status,
    }


def _init(job: Job, finished: Finished, own: Context) -> Span:
    """Of a cold or prewarmed start."""
    return Span(
        context=Context(own.trace_id, span_id_within(job.activation_id, "init")),
        parent=own.span_id,
        name="init",
        start_ms=finished.start_ms,
        end_ms=finished.start_ms + (finished.init_ms or 0),
    )
