"""What a node's own report (`/edge/v1/node`) shows to be wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controller.doctor.problem import Problem

#: The clock is wrong beyond this: certificates, alarms and retries go by it.
SKEW_MOST_S = 5.0
_INSTALL_BWRAP = "sudo apt-get install bubblewrap, then restart the agent"


def problems_of(
    report: Mapping[str, Any], *, skew_s: float | None = None
) -> tuple[Problem, ...]:
    """What is serious comes first.

    Args:
        report: what the node told; older agents tell less.
        skew_s: how far its clock is ahead of ours, where that was measured.
    """
    found = [*_isolation(report), *_kinds(report), *_store(report), *_brokers(report)]
    found += [*_clock(report, skew_s), *_traps(report)]
    return tuple(sorted(found, key=lambda problem: not problem.serious))


def _isolation(report: Mapping[str, Any]) -> Iterator[Problem]:
    isolation = report.get("isolation") or {}
    level = isolation.get("level")
    # What keeps a node below `full` is said by the findings, where there are some.
    for finding in isolation.get("findings") or ():
        text, _, mend = str(finding).partition("; to mend it: ")
        yield Problem(_id_of(text), text, mend, serious=level == "rlimits")
    if level == "rlimits":
        yield Problem("isolation", "actions are not isolated", _INSTALL_BWRAP)
    elif level == "namespaces":
        yield Problem(
            "isolation",
            "isolation is 'namespaces', below 'full': no memory control group, or no"
            " seccomp filter",
            "edge-agent doctor on the node says which",
            serious=False,
        )


def _id_of(finding: str) -> str:
    for word in ("memory control group", "seccomp", "bubblewrap", "root"):
        if word in finding:
            return word.replace(" ", "-").replace("control-group", "cgroup")
    return "isolation"


def _kinds(report: Mapping[str, Any]) -> Iterator[Problem]:
    if not report.get("kinds"):
        mend = "sudo apt-get install python3 nodejs, then restart the agent"
        yield Problem("python", "no runtime: no action can run", mend)


def _store(report: Mapping[str, Any]) -> Iterator[Problem]:
    store = report.get("store") or {}
    if store.get("failure"):
        mend = "see the node's disk, then restart the agent"
        yield Problem("store", f"the store fails: {store['failure']}", mend)
    letters = store.get("dead_letters") or {}
    if letters.get("full"):
        mend = "edgectl events list, then replay or drop them"
        yield Problem("dead-letters", "the dead letters are full: events wait", mend)
    elif letters.get("count"):
        yield Problem(
            "dead-letters",
            f"{letters['count']} events have failed for good",
            "edgectl events list, then replay or drop them",
            serious=False,
        )


def _brokers(report: Mapping[str, Any]) -> Iterator[Problem]:
    for broker in (report.get("mqtt") or {}).get("brokers") or ():
        yield from _broker(broker)


def _broker(broker: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with one connection of the node."""
    name = f"broker {broker.get('broker')}"
    if broker.get("error"):
        mend = "is it on, and are address, user and authority right?"
        yield Problem("broker", f"{name}: {broker['error']}", mend)
    dropped = broker.get("dropped_by_broker")
    if dropped:
        yield Problem(
            "broker-dropped",
            f"{name}: has dropped {dropped} messages since it started",
            "max_queued_messages 0 and a byte limit in mosquitto.conf",
        )
    for one in broker.get("subscriptions") or ():
        if one.get("refusal"):
            text = f"{name}: refuses to subscribe {one.get('topic')}: {one['refusal']}"
            yield Problem("broker-refuses", text, "let its ACL allow this node's user")


def _clock(report: Mapping[str, Any], skew_s: float | None) -> Iterator[Problem]:
    clock = report.get("clock") or {}
    mend = "sudo timedatectl set-ntp true, or without a network: sudo date -s"
    if skew_s is not None and abs(skew_s) > SKEW_MOST_S:
        word = "ahead of" if skew_s > 0 else "behind"
        text = f"its clock is {abs(skew_s):.0f} s {word} this machine's"
        yield Problem("clock", text, mend)
    elif clock.get("synced") is False:
        text = f"its clock is {clock.get('behind_s')} s behind what it has seen before"
        yield Problem("clock", text, mend)
    elif clock.get("kept") is False:
        text = "no time server keeps its clock"
        yield Problem("clock-unkept", text, mend, serious=False)


def _traps(report: Mapping[str, Any]) -> Iterator[Problem]:
    """What the node has found on its machine (`edge_agent.telemetry.traps`)."""
    for trap in report.get("traps") or ():
        if isinstance(trap, dict):
            yield Problem(
                str(trap.get("id", "trap")),
                str(trap.get("text", "")),
                str(trap.get("mend", "")),
                serious=trap.get("serious") is not False,
            )
