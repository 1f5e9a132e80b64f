"""A target that is no agent of ours: in what it differs, for those who rely on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controller.doctor.problem import Problem
from controller.fleet.client import Client
from controller.fleet.transport import OpenWhiskError

#: Packages with the feeds that our nodes bring.
FEEDS = ("mqtt", "gpio", "alarms")
_MANY = 1000


async def differences(client: Client) -> list[Problem]:
    """All of it advice: upstream is what it is."""
    limits = await _ask(client, "_/limits")
    found = await _ask(client, "whisk.system/packages?limit=200")
    names = None if found is None else [str(one.get("name")) for one in found]
    return list(differences_of(limits, names))


def differences_of(
    limits: Mapping[str, Any] | None, packages: list[str] | None
) -> Iterator[Problem]:
    yield _advice(
        "upstream",
        "an OpenWhisk host, but no agent of ours: what it accepts (202) is kept in"
        " memory and lost when it crashes, and it tells nothing of itself",
        "send again what has to arrive: edgectl waits for records and retries",
    )
    missing = [name for name in FEEDS if name not in (packages or [])]
    if packages is not None and missing:
        yield _advice(
            "upstream-feeds",
            f"it has no feeds of /whisk.system/{{{','.join(missing)}}}",
            "edgectl bridge run fires its actions from MQTT",
        )
    per_minute = (limits or {}).get("invocationsPerMinute")
    if isinstance(per_minute, int) and per_minute < _MANY:
        yield _advice(
            "upstream-limits",
            f"it takes {per_minute} invocations a minute and"
            f" {(limits or {}).get('concurrentInvocations')} at a time",
            "raise them where it is deployed (openwhisk_lean_invocations_per_minute,"
            " openwhisk_invocations_per_minute)",
        )


def _advice(name: str, text: str, mend: str) -> Problem:
    return Problem(name, text, mend, serious=False)


async def _ask(client: Client, path: str) -> Any:
    try:
        return await client.read(path)
    except OpenWhiskError:
        return None
