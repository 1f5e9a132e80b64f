"""A job: one activation on its way from acceptance to its record.

These are msgspec structs rather than dataclasses: one of each is made per activation,
and a frozen dataclass of ten fields takes ten times as long to build.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import replace

from edge_agent.model.activations import (
    ActivationRecord,
    Response,
    StartKind,
    Status,
    failure,
)
from edge_agent.model.entities import Action, KeyValue
from edge_agent.model.names import FullName


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls: one subject in one namespace, with its plain key (F1, F3)."""

    subject: str
    namespace: str
    uuid: str
    key: str

    def __repr__(self) -> str:
        return f"Identity({self.subject}, {self.namespace}, {self.uuid}, key=***)"

    @property
    def auth(self) -> str:
        """`uuid:key`, what `AUTH` and `__OW_API_KEY` hold."""
        return f"{self.uuid}:{self.key}"


class Form(StrEnum):
    """How an action is run: in a sandbox, by the agent itself, or as steps."""

    SINGLE = "single"
    BUILTIN = "builtin"
    SEQUENCE = "sequence"
    CONDUCTOR = "conductor"


class Job(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What runs: in the pool when its form is SINGLE.

    `arguments` is the JSON text of the run's value; `environment` the init
    parameters as C2 makes them; `accepted_ns` is monotonic, `accepted_ms` wall time.
    `binding` is the one that it was invoked through, `cause` the activation id of the
    sequence or composition that it is a part of. `components` are those of a sequence,
    `defaults` what a conductor's arguments are laid over each time it is run.
    """

    activation_id: str
    action: Action
    identity: Identity
    arguments: bytes
    accepted_ns: int
    accepted_ms: int
    transaction_id: str
    environment: dict[str, str] = {}
    blocking: bool = False
    binding: FullName | None = None
    cause: str | None = None
    form: Form = Form.SINGLE
    components: tuple[FullName, ...] = ()
    defaults: dict[str, Raw] = {}

    @property
    def log_fields(self) -> dict[str, str]:
        """The `extra` of a log line that concerns it."""
        return {"activation": self.activation_id}

    @property
    def revision(self) -> tuple[str, str, str, int]:
        """Equal for two jobs that may share a warm sandbox (D6, D9)."""
        action = self.action
        return (
            self.identity.namespace,
            f"{action.namespace}/{action.name}",
            action.version,
            action.updated,
        )


class Composed(msgspec.Struct, frozen=True, kw_only=True):
    """What is different about the end of a sequence or a composition (B49, B60)."""

    end_ms: int
    memory_mb: int
    conductor: bool


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended; times in ms. `init_ms` is None on a warm start (B40).

    Of a sequence or composition, `run_ms` is the sum of what its components took and
    `logs` are their activation ids. `exceeded` names the limit that a failure ran into:
    memory, timeout, processes or disk. `status_code` is the one in the result, if any.
    """

    response: Response
    start_ms: int
    wait_ms: int
    run_ms: int
    start: StartKind
    init_ms: int | None = None
    timed_out: bool = False
    logs: tuple[str, ...] = ()
    level: str = ""
    exceeded: str = ""
    status_code: int = 0
    composed: Composed | None = None


def make_record(job: Job, finished: Finished) -> ActivationRecord:
    """The record of a finished job (B28-B44)."""
    duration = finished.run_ms + (finished.init_ms or 0)
    composed = finished.composed
    return ActivationRecord(
        namespace=job.identity.namespace,
        name=job.action.name,
        version=job.action.version,
        subject=job.identity.subject,
        activation_id=job.activation_id,
        start=finished.start_ms,
        end=finished.start_ms + duration if composed is None else composed.end_ms,
        duration=duration,
        cause=job.cause or UNSET,
        response=finished.response,
        logs=list(finished.logs),
        annotations=_annotations(job, finished),
    )


def _annotations(job: Job, finished: Finished) -> list[KeyValue]:
    if finished.composed is not None:
        found = _composed_annotations(job, finished, finished.composed)
    else:
        found = _run_annotations(job, finished)
    if job.binding is not None:
        found.append(KeyValue(key="binding", value=str(job.binding)))
    if job.cause is not None:
        found.append(KeyValue(key="causedBy", value="sequence"))
    return found


def _run_annotations(job: Job, finished: Finished) -> list[KeyValue]:
    action = job.action
    found = [
        KeyValue(key="path", value=f"{action.namespace}/{action.name}"),
        KeyValue(key="waitTime", value=finished.wait_ms),
        KeyValue(key="kind", value=action.exec.kind),
        KeyValue(key="timeout", value=finished.timed_out),
        KeyValue(key="limits", value=action.limits),
    ]
    if finished.level:
        found.append(KeyValue(key="isolation", value=finished.level))
    if finished.exceeded and not finished.timed_out:  # `timeout` tells of that (B38)
        found.append(KeyValue(key="limitExceeded", value=finished.exceeded))
    if finished.init_ms is not None:
        found.append(KeyValue(key="initTime", value=finished.init_ms))
    return found


def _composed_annotations(
    job: Job, finished: Finished, composed: Composed
) -> list[KeyValue]:
    """B37, B39, B42, B43; whatever its exec is, it is shown as a sequence (B60)."""
    action = job.action
    found = [
        KeyValue(key="topmost", value=job.cause is None),
        KeyValue(key="path", value=f"{action.namespace}/{action.name}"),
        KeyValue(key="waitTime", value=finished.wait_ms),
        KeyValue(key="kind", value="sequence"),
        KeyValue(key="limits", value=replace(action.limits, memory=composed.memory_mb)),
    ]
    if composed.conductor:
        found.append(KeyValue(key="conductor", value=True))
    return found


def failed_record(
    job: Job, status: Status, error: str, *, now_ms: int
) -> ActivationRecord:
    """The record of a job that never reached a sandbox (B46)."""
    action = job.action
    annotations = [
        KeyValue(key="path", value=f"{action.namespace}/{action.name}"),
        KeyValue(key="kind", value="unknown"),
        KeyValue(key="limits", value=action.limits),
    ]
    return ActivationRecord(
        namespace=job.identity.namespace,
        name=action.name,
        version=action.version,
        subject=job.identity.subject,
        activation_id=job.activation_id,
        start=now_ms,
        end=now_ms,
        duration=0,
        cause=job.cause or UNSET,
        response=failure(status, error),
        annotations=annotations,
    )
