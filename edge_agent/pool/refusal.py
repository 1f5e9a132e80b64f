"""Jobs that end without a sandbox having seen them: what their callers are told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from edge_agent.model.activations import Response, StartKind, Status, failure
from edge_agent.model.entities import Action
from edge_agent.model.errors import NotFound
from edge_agent.model.jobs import Finished, Job

log = logging.getLogger(__name__)

#: Reads an action's code; raises `NotFound` when there is none any more.
CodeOf = Callable[[Action], Awaitable[str]]

#: C18
NO_RESOURCES = failure(
    Status.WHISK_ERROR, "Failed to provision resources to run the action."
)
#: C19
NO_ACTION = failure(
    Status.APPLICATION_ERROR, "Action could not be found or may have been deleted."
)
NOT_FETCHED = failure(Status.WHISK_ERROR, "Action could not be fetched.")


def refused(text: str) -> Response:
    return failure(Status.WHISK_ERROR, text)


async def fetch(code_of: CodeOf, job: Job) -> str | Response:
    """The code of its action, or what the job ends with when there is none (C19)."""
    action = job.action
    try:
        return await code_of(action)
    except NotFound:
        return NO_ACTION
    except Exception:
        log.exception(
            "the code of /%s/%s cannot be read",
            action.namespace,
            action.name,
            extra=job.log_fields,
        )
        return NOT_FETCHED


def never_ran(response: Response, *, now_ms: int, waited_ms: int) -> Finished:
    return Finished(
        response=response,
        start_ms=now_ms,
        wait_ms=waited_ms,
        run_ms=0,
        start=StartKind.COLD,
    )
