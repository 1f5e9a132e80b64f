"""What happens in a playbook run, as values, and the recap they add up to.

The JSON lines come from `ansible/plugins/callback/edgewhisk_events.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from controller.deploy.reasons import (
    reason_broken_off,
    reason_failed,
    reason_unreachable,
)


class _Line(msgspec.Struct, frozen=True, tag_field="event"):
    """Base: the field `event` says which."""


class TaskBegins(_Line, frozen=True, tag="task"):
    task: str


class Ok(_Line, frozen=True, tag="ok"):
    host: str
    task: str
    changed: bool = False


class Failed(_Line, frozen=True, tag="failed"):
    """`ignored`: the playbook goes on (a rescue still counts as failed here)."""

    host: str
    task: str
    text: str = ""
    stderr: str = ""
    ignored: bool = False


class Unreachable(_Line, frozen=True, tag="unreachable"):
    host: str
    task: str
    text: str = ""


class Diff(_Line, frozen=True, tag="diff"):
    host: str
    task: str
    text: str


class Counts(msgspec.Struct, frozen=True):
    """Ansible's own counts of one host."""

    ok: int = 0
    changed: int = 0
    failures: int = 0
    unreachable: int = 0


class Stats(_Line, frozen=True, tag="recap"):
    hosts: dict[str, Counts]


Event = TaskBegins | Ok | Failed | Unreachable | Diff | Stats
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class HostRecap(msgspec.Struct, frozen=True):
    """How one host ended; `reason` is one line, None when all is well."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: int = 0
    reason: str | None = None

    @property
    def well(self) -> bool:
        return not (self.failed or self.unreachable or self.reason)


@dataclass(frozen=True, slots=True)
class Recap:
    """Every host that was to be reached, in the order of the inventory."""

    hosts: Mapping[str, HostRecap] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        return bool(self.hosts) and all(host.well for host in self.hosts.values())


def parse_event(line: str | bytes) -> Event:
    return _DECODER.decode(line)


def recap_of(
    events: Iterable[Event],
    hosts: Iterable[str],
    *,
    goal: str = "",
    broke_off: str = "",
) -> Recap:
    """Add the events up. A host without any was not done: `broke_off` says why.

    `goal` is the task that ends a host's run well: a host that nothing is wrong with
    but that did not come so far was left as it is, since another one failed before.
    """
    found: dict[str, HostRecap] = {}
    reasons: dict[str, str] = {}
    arrived: set[str] = set()
    for event in events:
        match event:
            case Failed(ignored=False):
                reasons[event.host] = reason_failed(
                    event.task, event.text, event.stderr
                )
            case Ok() if goal and event.task.endswith(goal):
                arrived.add(event.host)
            case Unreachable():
                reasons[event.host] = reason_unreachable(event.text)
            case Stats():
                found = {
                    name: _of_counts(counts) for name, counts in event.hosts.items()
                }
            case _:
                pass
    recaps = {name: _ended(name, found, reasons, broke_off) for name in hosts}
    if not goal:
        return Recap(recaps)
    failed = ", ".join(name for name, recap in recaps.items() if not recap.well)
    left = f"left as it was, since {failed or 'another host'} failed; run it again"
    return Recap(
        {
            name: recap
            if name in arrived or not recap.well
            else msgspec.structs.replace(recap, reason=left)
            for name, recap in recaps.items()
        }
    )


def _of_counts(counts: Counts) -> HostRecap:
    return HostRecap(
        ok=counts.ok,
        changed=counts.changed,
        failed=counts.failures,
        unreachable=counts.unreachable,
    )


def _ended(
    name: str,
    found: Mapping[str, HostRecap],
    reasons: Mapping[str, str],
    broke_off: str,
) -> HostRecap:
    recap = found.get(name)
    if recap is None:
        why = reasons.get(name) or reason_broken_off(broke_off)
        return HostRecap(failed=1, reason=why)
    if recap.well:
        return recap
    return msgspec.structs.replace(recap, reason=reasons.get(name, "see the log"))
