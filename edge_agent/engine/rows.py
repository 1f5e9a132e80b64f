"""From a row of the inbox back to a job, or to the record of one that cannot run."""

from __future__ import annotations

import time

from edge_agent.engine.resolve import Runnable
from edge_agent.model.activations import ActivationRecord, Status
from edge_agent.model.entities import Action, Exec
from edge_agent.model.jobs import Identity, Job, failed_record
from edge_agent.model.names import FullName
from edge_agent.store.inbox import InboxRow

ACTION_GONE = "Action could not be found or may have been deleted."  # C19


def job_of(row: InboxRow, runnable: Runnable, identity: Identity, now_ms: int) -> Job:
    accepted = row.accepted
    # A row of an earlier life has no monotonic acceptance: take what the clock says.
    waited_ms = max(0, now_ms - accepted.accepted_ms)
    return Job(
        activation_id=accepted.activation_id,
        action=runnable.action,
        identity=identity,
        arguments=bytes(accepted.arguments),
        accepted_ns=time.monotonic_ns() - waited_ms * 1_000_000,
        accepted_ms=accepted.accepted_ms,
        transaction_id=accepted.transaction_id,
        environment=runnable.environment,
    )


def gone_record(row: InboxRow, now_ms: int) -> ActivationRecord:
    """C19, B46: the action was deleted between acceptance and run."""
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
    return failed_record(job, Status.APPLICATION_ERROR, ACTION_GONE, now_ms=now_ms)
