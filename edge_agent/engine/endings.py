"""How activations end: one place that writes the record and tells whoever watches.

For an accepted activation everything that its end means is one transaction: the record,
the deletion of its row, the result on its way to a topic, and its dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from edge_agent.model.activations import ActivationRecord
from edge_agent.model.delivery import Attempt, Happening, Reason
from edge_agent.model.feeds import Outgoing
from edge_agent.model.jobs import Finished, Job, make_record
from edge_agent.store.inbox import Accepted, InboxRow
from edge_agent.store.store import Store
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.metrics import Metrics
from edge_agent.telemetry.stream import ActivationStream, EventStream

if TYPE_CHECKING:
    from edge_agent.telemetry.traces import Traces


class Results(Protocol):
    """Turns results into messages and sends them; `app` wires events' own."""

    def outgoing(
        self, accepted: Accepted, record: ActivationRecord
    ) -> Sequence[Outgoing]:
        """What an ended activation is to publish: for its rule, and as an answer."""
        ...

    def publish(self, outgoing: Outgoing) -> None: ...


class Endings:
    def __init__(
        self,
        store: Store,
        *,
        stream: ActivationStream,
        events: EventStream,
        log: ActivationLog,
        results: Results | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._store = store
        self._traces = traces
        self._stream = stream
        self._events = events
        self._lines = log
        self.metrics = Metrics()
        store.writer.on_commit = self.metrics.commits.add
        self._results = results

    def finish(
        self,
        job: Job,
        finished: Finished,
        *,
        row: InboxRow | None = None,
        result_in: str | None = None,
    ) -> ActivationRecord:
        """The end of a job that ran, with nothing to be said about how often.

        `result_in` has the same result and its end follows at once.
        """
        record = make_record(job, finished)
        within = job.action.full_name.within
        self.settle(record, row, within=within, result_in=result_in)
        self.log(job, finished, row)
        return record

    def log(self, job: Job, finished: Finished, row: InboxRow | None) -> None:
        self._lines.ended(job, finished)
        self.metrics.ended(job, finished)
        if self._traces is not None:
            rule = None if row is None else row.accepted.rule
            self._traces.ended(job, finished, rule=rule)

    def settle(
        self,
        record: ActivationRecord,
        row: InboxRow | None,
        *,
        within: str = "",
        result_in: str | None = None,
    ) -> None:
        batch = self._store.activations.add(
            record, within=within or None, result_in=result_in
        )
        if row is not None:
            self._end_row(row, record, batch)
            self.tell("ended", row.accepted, record.end, status=record.response.status)
        self._stream.publish(record)

    def bury(
        self,
        record: ActivationRecord,
        row: InboxRow,
        *,
        reason: Reason,
        attempts: tuple[Attempt, ...],
        within: str = "",
    ) -> None:
        """The end of a row that goes to the dead letters; ask before for room."""
        batch = self._store.activations.add(record, within=within or None)
        self._end_row(row, record, batch)
        self._store.dead_letters.add(row.accepted, reason, attempts, batch)
        self.tell(
            "dead",
            row.accepted,
            record.end,
            status=record.response.status,
            reason=reason,
            attempt=len(attempts),
        )
        self._stream.publish(record)

    def tell(self, event: str, accepted: Accepted, at_ms: Any, **more: Any) -> None:
        """Tell who watches the events, if anybody does."""
        if not self._events.watched(accepted.namespace):
            return
        self._events.publish(
            Happening(
                event=event,
                namespace=accepted.namespace,
                activation_id=accepted.activation_id,
                action=accepted.action,
                rule=accepted.rule,
                at_ms=at_ms,
                **more,
            )
        )

    def _end_row(self, row: InboxRow, record: ActivationRecord, batch: Any) -> None:
        self._store.inbox.finish(row, batch)
        accepted = row.accepted
        if self._results is None:
            return
        if accepted.result_topic is None and accepted.reply is None:
            return
        for outgoing in self._results.outgoing(accepted, record):
            self._store.sources.send(outgoing, batch)
            self._results.publish(outgoing)
