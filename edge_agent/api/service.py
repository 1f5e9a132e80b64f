"""What the server says of itself, to anybody (A14, A15, A22)."""

from __future__ import annotations

from typing import Any

from edge_agent import __version__
from edge_agent.api.answers import NO_CORS, answer_json, answer_text
from edge_agent.api.call import Call
from edge_agent.api.written import Written
from edge_agent.engine.catalog_kinds import manifest
from edge_agent.model.limits import MEBIBYTE, SystemLimits

_SUPPORT = {
    "github": "https://github.com/apache/openwhisk/issues",
    "slack": "http://slack.openwhisk.org",
}


async def info(call: Call) -> Written:
    answer = {
        "description": "OpenWhisk",
        "support": _SUPPORT,
        "api_paths": ["/api/v1"],
        "limits": system_limits(call.services.limits.system),
        "runtimes": manifest(call.services.catalog.kinds),
    }
    return answer_json(call, answer, cors=NO_CORS)


async def api_info(call: Call) -> Written:
    answer = {
        "description": "OpenWhisk API",
        "api_version": "1.0.0",
        "api_version_path": "v1",
        "build": f"edgewhisk {__version__}",
        "buildno": __version__,
        "swagger_paths": {"ui": "/docs", "api-docs": "/api-docs"},
    }
    return answer_json(call, answer)


async def ping(call: Call) -> Written:
    return answer_text(call, "pong", cors=NO_CORS)


def system_limits(limits: SystemLimits) -> dict[str, Any]:
    """Times in ms, sizes in bytes. The namespace's and the system's are the same."""
    duration, memory, logs = limits.timeout_ms, limits.memory_mb, limits.logs_mb
    bounds = {
        "min_action_duration": duration.least,
        "max_action_duration": duration.greatest,
        "min_action_memory": memory.least * MEBIBYTE,
        "max_action_memory": memory.greatest * MEBIBYTE,
        "min_action_logs": logs.least * MEBIBYTE,
        "max_action_logs": logs.greatest * MEBIBYTE,
    }
    return {
        "actions_per_minute": limits.invocations_per_minute,
        "triggers_per_minute": limits.fires_per_minute,
        "concurrent_actions": limits.concurrent_invocations,
        "sequence_length": limits.sequence_length,
        **bounds,
        **{f"default_{name}": value for name, value in bounds.items()},
    }
