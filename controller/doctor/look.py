"""Look at every node of a target, from inside, outside, and over SSH where need be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from controller.doctor.outside import look_from_outside, version_skew
from controller.doctor.problem import Problem
from controller.doctor.report import problems_of
from controller.doctor.upstream import differences
from controller.fleet.client import Client
from controller.fleet.transport import OpenWhiskError
from edge_agent import __version__

_NO_AGENT = frozenset({404, 405})
_NOT_ENTITLED = 403


@dataclass(frozen=True, slots=True)
class Finding:
    """How one node is: what it told of itself, and what is wrong with it.

    `answers` is False when its API does not; then it was looked at over SSH, if it
    could be.
    """

    name: str
    url: str
    answers: bool = True
    report: dict[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def well(self) -> bool:
        return not any(problem.serious for problem in self.problems)

    def also(self, more: Sequence[Problem]) -> Finding:
        """Each problem once, what is serious first."""
        every = list(dict.fromkeys([*self.problems, *more]))
        return replace(
            self, problems=tuple(sorted(every, key=lambda one: not one.serious))
        )


async def look(clients: Sequence[Client], inventory: Path | None) -> list[Finding]:
    """Every node's, in their order; `inventory` says how to reach them by SSH."""
    found = await asyncio.gather(*map(_look, clients))
    silent = [one.name for one in found if not one.answers]
    if silent and inventory is not None:
        from controller.doctor.over_ssh import look_over_ssh  # noqa: PLC0415 Ansible

        seen = await asyncio.to_thread(look_over_ssh, inventory, silent)
        found = [one.also(seen.get(one.name, [])) for one in found]
    versions = [(one.name, str(one.report.get("version") or "")) for one in found]
    skew = version_skew(versions, __version__)
    return [one.also([skew[one.name]] if one.name in skew else []) for one in found]


async def _look(client: Client) -> Finding:
    target = client.target
    finding = Finding(target.name or target.url, target.url)
    try:
        await client.list_actions(limit=1)
    except OpenWhiskError as error:
        problem = Problem("unreachable" if not error.status else "key", str(error))
        finding = replace(finding, answers=bool(error.status), problems=(problem,))
    outside = await look_from_outside(target)
    if finding.problems:
        return finding.also(outside)
    return (await _inside(client, finding)).also(outside)


async def _inside(client: Client, finding: Finding) -> Finding:
    began, sent = time.monotonic(), time.time()
    try:
        report = await client.edge("node")
    except OpenWhiskError as error:
        return finding.also(await _why(client, error))
    half_s = (time.monotonic() - began) / 2
    if not isinstance(report, dict):
        return finding.also([Problem("report", "its report is not an object")])
    now_ms = report.get("now_ms")
    skew_s = None
    if isinstance(now_ms, int | float):
        skew_s = now_ms / 1000 - (sent + half_s)
    return replace(finding, report=report).also(problems_of(report, skew_s=skew_s))


async def _why(client: Client, error: OpenWhiskError) -> list[Problem]:
    if error.status in _NO_AGENT:
        return await differences(client)
    if error.status == _NOT_ENTITLED:
        return [
            Problem(
                "system-key",
                "its report needs the system key",
                "--system-auth KEY, or OPENWHISK_SYSTEM_AUTH",
            )
        ]
    return [Problem("report", str(error))]
