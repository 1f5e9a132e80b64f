"""What delivery knows of an accepted event: how often, in which order, until when.

A rule's annotations (or its trigger's, where the rule says nothing) become `Options`
when it fires; they are fixed with the accepted row, as its arguments are.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

DAY_MS = 86_400_000

Wait = Annotated[int, Meta(ge=0, le=DAY_MS)]


class Failure(StrEnum):
    """How a run can fail, in the words of `retry.on`.

    A run that took too long is a `timeout`, although its record says developer error.
    """

    WHISK_ERROR = "whisk error"
    DEVELOPER_ERROR = "developer error"
    APPLICATION_ERROR = "application error"
    TIMEOUT = "timeout"


class RetryPolicy(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """Annotation `retry`. `max` counts the runs after the first one.

    The wait before a run doubles from `backoff_ms` up to `max_backoff_ms`; up to the
    part `jitter` of it is taken off at random, so that what failed together does not
    come back together.
    """

    max: Annotated[int, Meta(ge=0, le=100)] = 3
    backoff_ms: Wait = 1_000
    max_backoff_ms: Wait = 60_000
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    on: tuple[Failure, ...] = (Failure.WHISK_ERROR,)


class Options(msgspec.Struct, frozen=True):
    """How the events of one rule are delivered; None means the default.

    `order` is annotation `ordered`: "" is one line for the whole rule, anything else a
    dotted path into the arguments, whose value names the line.
    """

    retry: RetryPolicy | None = None
    order: str | None = None
    ttl_ms: int | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run that did not end the event; `duration_ms` is this node's own clock's.

    `life` names the agent's life that ended in the middle of it, "" when none did.
    """

    start_ms: int
    status: str
    error: str = ""
    duration_ms: int = 0
    life: str = ""


class Reason(StrEnum):
    """Why an event went to the dead letters."""

    #: Its retries are used up.
    FAILED = "failed"
    #: Its time to live was over before a run began.
    EXPIRED = "expired"
    #: The agent died twice while it ran.
    POISON = "poison"


#: What an attempt says that the agent did not survive.
DIED = "the agent died"


class Happening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the live stream of events tells; `event` is one of the words below.

    accepted, retry (`after_ms` until the next run), ended (`status` of its record),
    dead (`reason`), replayed (of the new activation), dropped.
    """

    event: str
    namespace: str
    activation_id: str
    action: str
    at_ms: int
    rule: str | None = None
    attempt: int = 0
    after_ms: int = 0
    status: str = ""
    reason: str = ""
