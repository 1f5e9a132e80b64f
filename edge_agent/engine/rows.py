"""From a row of the inbox back to a job, or to the record of one that cannot run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec.structs import replace

from edge_agent.engine.resolve import Runnable
from edge_agent.model.activations import ActivationRecord, Status
from edge_agent.model.delivery import Attempt, Reason
from edge_agent.model.entities import Action, Exec, KeyValue
from edge_agent.model.jobs import Finished, Identity, Job, failed_record
from edge_agent.model.names import FullName
from edge_agent.store.inbox import InboxRow

ACTION_GONE = "Action could not be found or may have been deleted."  # C19
SHUT_OUT = "The action was not invoked due to a blacklisted namespace."  # C20
#: So much of an attempt's error is kept.
ERROR_CHARACTERS = 1_000

_STATUSES = {
    **{status.text: status for status in Status},
    "timeout": Status.DEVELOPER_ERROR,
}


class _Error(msgspec.Struct):
    error: Any


def job_of(row: InboxRow, runnable: Runnable, identity: Identity, now_ms: int) -> Job:
    accepted = row.accepted
    # A row of an earlier life has no monotonic acceptance: take what the clock says.
    waited_ms = max(0, now_ms - accepted.accepted_ms)
    return runnable.job(
        identity,
        bytes(accepted.arguments),
        activation_id=accepted.activation_id,
        accepted_ns=time.monotonic_ns() - waited_ms * 1_000_000,
        accepted_ms=accepted.accepted_ms,
        transaction_id=accepted.transaction_id,
    )


def unrun_record(
    row: InboxRow, status: Status, text: str, *, now_ms: int
) -> ActivationRecord:
    """The record of a row that ends without a (further) run (C19, B46)."""
    accepted = row.accepted
    name = FullName.parse(accepted.action, own="_")
    job = Job(
        activation_id=accepted.activation_id,
        action=Action(
            namespace=name.path,
            name=name.name,
            version=accepted.version,
            exec=Exec(kind="unknown"),
        ),
        identity=Identity(
            subject=accepted.namespace, namespace=accepted.namespace, uuid="", key=""
        ),
        arguments=b"{}",
        accepted_ns=0,
        accepted_ms=accepted.accepted_ms,
        transaction_id=accepted.transaction_id,
    )
    return failed_record(job, status, text, now_ms=now_ms)


def ending_of(row: InboxRow, reason: Reason) -> tuple[Status, str]:
    """What the record of a row says that goes to the dead letters without a run."""
    match reason:
        case Reason.EXPIRED:
            text = f"The event was older than its {row.accepted.ttl_ms} ms."
        case Reason.POISON:
            text = f"The node died {row.deaths} times while this ran."
        case Reason.FAILED:
            last = row.attempts[-1]
            return _STATUSES.get(last.status, Status.WHISK_ERROR), last.error
    return Status.WHISK_ERROR, text


def attempt_of(finished: Finished) -> Attempt:
    """A run, as it is kept for who wants to know why."""
    response = finished.response
    return Attempt(
        start_ms=finished.start_ms,
        status="timeout" if finished.timed_out else response.status,
        error="" if response.success else _error_text(bytes(response.result)),
        duration_ms=finished.run_ms + (finished.init_ms or 0),
    )


def annotated(
    record: ActivationRecord,
    row: InboxRow,
    attempts: Sequence[Attempt],
    *,
    reason: Reason | None = None,
) -> ActivationRecord:
    """The record with what delivery adds, if it took more than a run."""
    added = {
        "attempts": len(attempts) if len(attempts) > 1 or reason else None,
        "deadLetter": reason,
        "replayOf": row.accepted.replay_of,
    }
    more = [KeyValue(key=k, value=v) for k, v in added.items() if v is not None]
    if not more:
        return record
    return replace(record, annotations=[*record.annotations, *more])


def _error_text(result: bytes) -> str:
    """The text of `{"error": "text"}`, else the JSON; a piece of it when it is long."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        error = msgspec.json.decode(result, type=_Error).error
        if isinstance(error, str):
            return error[:ERROR_CHARACTERS]
    return result[:ERROR_CHARACTERS].decode(errors="ignore")
