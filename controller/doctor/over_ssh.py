"""A node whose API does not answer: looked at over SSH, as the inventory says how.

The role `doctor` brings `name value` lines of each host; what they mean is judged here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from controller.deploy.playbook import Run, environment_for, play
from controller.doctor.problem import Problem
from controller.doctor.report import SKEW_MOST_S

PLAYBOOK = "doctor"
DISK_LEAST_MB = 200
OURS = ("edge-agent", "systemd", "nobody")
_RESULTS = {
    "oom-kill": (
        "the kernel killed it: it used more memory than it may",
        "edge_agent_memory_max in the inventory, or less pool.memory_mb",
    ),
    "watchdog": (
        "systemd restarts it: its loop stood still for too long",
        "see journalctl -u edge-agent; is the disk slow or the machine overloaded?",
    ),
}
_JOURNAL = "sudo journalctl -u edge-agent -n 50"


def look_over_ssh(inventory: Path, hosts: Sequence[str]) -> dict[str, list[Problem]]:
    """What is wrong with each of `hosts`; blocks for seconds."""
    with TemporaryDirectory(prefix="edgewhisk-") as folder:
        run = Run(
            playbook=PLAYBOOK,
            inventory=inventory,
            hosts=hosts,
            log=Path(folder, "log"),
            variables={"doctor_folder": folder},
            limit=",".join(hosts),
        )
        recap = play(run, lambda _: None, environment_for(os.environ))
        found = {}
        for host in hosts:
            seen = Path(folder, host)
            if seen.is_file():
                found[host] = list(judge(seen.read_text(), now_s=time.time()))
            else:
                reason = recap.hosts[host].reason or "it could not be looked at"
                found[host] = [Problem("ssh", f"over SSH: {reason}")]
    return found


def judge(text: str, *, now_s: float) -> Iterator[Problem]:
    """What the lines of `look.sh` mean."""
    facts: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        facts.setdefault(name, []).append(value.strip())
    said = {name: values[0] for name, values in facts.items()}
    if said.get("installed") == "no":
        yield Problem("not-installed", "there is no agent on it", "edgectl deploy")
        return
    yield from _service(said)
    for value in facts.get("port", ()):
        port, _, holder = value.partition(" ")
        if not any(ours in holder for ours in OURS):
            yield Problem(
                "port",
                f"port {port} is taken by {holder}",
                "stop that program, or set edge_agent_port or edge_agent_tls_port",
            )
    yield from _machine(said, now_s)
    yield from _agent(said.get("agent", ""))


def _service(said: Mapping[str, str]) -> Iterator[Problem]:
    state, result = said.get("ActiveState", ""), said.get("Result", "")
    word = said.get("word", "")
    if result in _RESULTS:
        yield Problem(result, *_RESULTS[result])
    if state != "active":
        told = f"its service is {state or 'unknown'} ({result or 'no result'})"
        told += f", and said: {word}" if word else ""
        mend = f"{_JOURNAL}; sudo systemctl restart edge-agent"
        yield Problem("service", told, mend)
    elif said.get("socket") != "active":
        mend = "sudo systemctl restart edge-agent.socket edge-agent.service"
        yield Problem("socket", "its sockets are not open", mend)
    else:
        yield Problem(
            "unreachable",
            "its service runs there, but its address and port do not answer from here",
            "check edge_agent_address, edge_agent_tls_port and firewalls between",
        )


def _machine(said: Mapping[str, str], now_s: float) -> Iterator[Problem]:
    free, _, folder = said.get("free_mb", "").partition(" ")
    if free.isdigit() and int(free) < DISK_LEAST_MB:
        mend = "sudo apt-get clean; sudo journalctl --vacuum-size=50M"
        yield Problem("disk", f"{free} MB are free in {folder}", mend)
    if said.get("python") == "none":
        yield Problem("python", "there is no Python", "sudo apt-get install python3")
    epoch = said.get("epoch", "")
    # The way there and back took its time as well.
    if epoch.isdigit() and abs(int(epoch) - now_s) > 4 * SKEW_MOST_S:
        off = int(epoch) - now_s
        word = "ahead of" if off > 0 else "behind"
        yield Problem(
            "clock",
            f"its clock is {abs(off):.0f} s {word} this machine's",
            "sudo timedatectl set-ntp true, or without a network: sudo date -s",
        )


def _agent(text: str) -> Iterator[Problem]:
    """What `edge-agent doctor --json` says there."""
    try:
        report: Any = msgspec.json.decode(text or "{}")
    except msgspec.MsgspecError:
        return
    if report.get("enough") is False:
        yield Problem(
            "isolation",
            f"the kernel gives level '{report.get('level')}', below what its settings"
            " ask for: it refuses to start",
            "see the findings, or lower sandbox.minimum_level",
        )
    for one in report.get("findings") or ():
        text, mend = str(one.get("text", "")), str(one.get("mend", ""))
        yield Problem(str(one.get("id", "finding")), text, mend, serious=False)
