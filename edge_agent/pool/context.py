"""What an action is told about its activation (C1-C4): bodies of init and run.

The same names go to `/run` in lower case and into the environment of `/init` in upper
case behind `__OW_`. What is the same for every run of one sandbox is worked out once,
as its `Terms`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edge_agent.model.entities import Action, truthy
from edge_agent.model.jobs import Job
from edge_agent.model.limits import MEBIBYTE
from edge_agent.sandbox.base import InitRequest

MAIN = "main"


class Terms(msgspec.Struct, frozen=True):
    """What holds for every run of one action revision in one namespace."""

    fixed: dict[str, str]
    with_key: bool
    timeout_ms: int
    timeout_s: float
    logs_bytes: int


def terms_of(job: Job) -> Terms:
    action = job.action
    limits = action.limits
    fixed = {
        "namespace": job.identity.namespace,
        "action_name": f"/{action.namespace}/{action.name}",
        "action_version": action.version,
    }
    return Terms(
        fixed,
        provides_key(action),
        limits.timeout,
        limits.timeout / 1000,
        limits.logs * MEBIBYTE,
    )


def provides_key(action: Action) -> bool:
    """Whether the action gets its caller's key: annotation truthy or absent (C4)."""
    found = (a.value for a in action.annotations if a.key == "provide-api-key")
    return truthy(next(found, True))


def network_of(action: Action) -> str:
    """`none` where the annotation narrows what the node gives; it cannot widen it."""
    found = (a.value for a in action.annotations if a.key == "sandbox-network")
    return "none" if next(found, None) == "none" else "auto"


def run_context(job: Job, terms: Terms, *, now_ms: int) -> dict[str, str]:
    """All of C3 but the value. The key is the caller's own: there may be two (F3)."""
    context = {
        **terms.fixed,
        "activation_id": job.activation_id,
        "transaction_id": job.transaction_id,
        "deadline": str(now_ms + terms.timeout_ms),
    }
    if terms.with_key:
        context["api_key"] = job.identity.auth
    return context


def init_request(
    job: Job, context: Mapping[str, str], *, code: str, api_host: str
) -> InitRequest:
    executed = job.action.exec
    env = {f"__OW_{key.upper()}": value for key, value in context.items()}
    return InitRequest(
        name=job.action.name,
        main=executed.main or MAIN,
        code=code,
        binary=bool(executed.binary),
        concurrency=job.action.limits.concurrency,
        env={**job.environment, "__OW_API_HOST": api_host, **env},
    )
