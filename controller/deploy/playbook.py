"""Run one of our playbooks: ansible-playbook as a process, its events as values.

Ansible's own output is the log on disk; what happens comes as JSON lines through a
pipe from our callback plugin. The user's ansible.cfg is respected; ours is the default
of those who have none.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from controller.deploy.events import Event, Recap, Stats, parse_event, recap_of
from controller.deploy.release import find_ansible

STOP_TIMEOUT_S = 15
CALLBACK = "edgewhisk_events"
_ERROR = "[ERROR]:"
USUAL_CONFIGS = ("ansible.cfg", "~/.ansible.cfg", "/etc/ansible/ansible.cfg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What to run where; `log` is written anew, `hosts` are those it should reach.

    `goal` is the task that each of them comes to when all is well.
    """

    playbook: str
    inventory: Path
    hosts: Sequence[str]
    log: Path
    variables: Mapping[str, Any] = field(default_factory=dict)
    limit: str | None = None
    forks: int | None = None
    check: bool = False
    diff: bool = False
    goal: str = ""


def play(
    run: Run, on_event: Callable[[Event], None], environment: Mapping[str, str]
) -> Recap:
    """Run it to its end. A playbook that failed is a recap that says so.

    Args:
        run: what and where.
        on_event: is told what happens as it happens.
        environment: what `environment_for` gives.
    """
    command = command_of(run)
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("w") as log:
        log.write(f"$ {shlex.join(command)}\n")
        log.flush()
        events = _run(command, log, on_event, environment)
    goal = "" if run.check else run.goal
    if any(isinstance(event, Stats) for event in events):
        return recap_of(events, run.hosts, goal=goal)
    return recap_of(events, run.hosts, goal=goal, broke_off=_last_error(run.log))


def _last_error(log: Path) -> str:
    """Why Ansible gave up as a whole, for example a vault without its password."""
    said = [line for line in log.read_text().splitlines() if _ERROR in line]
    return said[-1].partition(_ERROR)[2] if said else ""


def command_of(run: Run) -> list[str]:
    playbook = find_ansible() / "playbooks" / f"{run.playbook}.yml"
    command = [sys.executable, "-m", "ansible", "playbook", str(playbook)]
    command += ["-i", str(run.inventory)]
    if run.variables:
        command += ["-e", msgspec.json.encode(run.variables).decode()]
    if run.limit:
        command += ["--limit", run.limit]
    if run.forks:
        command += ["--forks", str(run.forks)]
    command += ["--check"] if run.check else []
    command += ["--diff"] if run.diff else []
    return command


def environment_for(environ: Mapping[str, str]) -> dict[str, str]:
    """What Ansible needs to find our roles and to tell us what it does."""
    folder = find_ansible()
    ours = {
        "ANSIBLE_ROLES_PATH": str(folder / "roles"),
        "ANSIBLE_CALLBACK_PLUGINS": str(folder / "plugins" / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": CALLBACK,
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_NOCOLOR": "true",
    }
    own = "ANSIBLE_CONFIG" in environ or any(
        Path(place).expanduser().is_file() for place in USUAL_CONFIGS
    )
    config = {} if own else {"ANSIBLE_CONFIG": str(folder / "ansible.cfg")}
    return {**environ, **config, **ours}


def _run(
    command: Sequence[str],
    log: IO[str],
    on_event: Callable[[Event], None],
    environment: Mapping[str, str],
) -> list[Event]:
    events: list[Event] = []
    reading, writing = os.pipe()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**environment, "EDGEWHISK_EVENTS_FD": str(writing)},
        pass_fds=[writing],
    )
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                events.append(parse_event(line))
                on_event(events[-1])
        process.wait()
    finally:
        _stop(process)
    return events


def _stop(process: subprocess.Popen[bytes]) -> None:
    """After an interruption: Ansible has had the signal too and ends by itself."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
