"""Locust workers on nodes, for load from several machines.

Ansible brings the scenarios and Locust to each host of a group and starts a worker that
joins one master after another; on leaving they are stopped and nothing stays. Master
and workers speak in the clear and the key travels with the options, as Locust does it:
for a network of one's own.
"""

from __future__ import annotations

import os
import socket
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.deploy.check import hosts_of
from controller.deploy.playbook import Run, environment_for, play
from controller.deploy.release import CONSTRAINTS
from controller.loadtest.errors import BadLoadtest, LoadtestError
from controller.loadtest.locust_run import ALONE, Crew, folder

#: A worker ends by itself then, should nobody stop it.
MOST_S = 6 * 3600


@dataclass(frozen=True)
class Group:
    """Hosts of an inventory; `variables` are those of the role `load_worker`."""

    inventory: Path
    limit: str
    variables: Mapping[str, Any]


@contextmanager
def workers(group: Group | None, say: Callable[[str], None]) -> Iterator[Crew]:
    """Start one on each host of the group; without a group we are alone.

    Raises:
        BadLoadtest: there is no such group.
        LoadtestError: a worker could not be started; the text says where and why.
    """
    if group is None:
        yield ALONE
        return
    environ = environment_for(os.environ)
    hosts = hosts_of(group.inventory, limit=group.limit, environ=environ)
    if not hosts:
        raise BadLoadtest(f"{group.inventory}: no host is in '{group.limit}'")
    with tempfile.TemporaryDirectory(prefix="edgewhisk-workers-") as place:
        crew = Crew(workers=len(hosts), port=_free_port())
        party = _Party(group, hosts, Path(place), crew)
        say(f"workers on {', '.join(hosts)}")
        try:
            party.play("load_workers", environ)
            yield crew
        finally:
            party.play("load_workers_remove", environ)


@dataclass(frozen=True)
class _Party:
    """A group's hosts, a folder of ours for logs, and who joins where."""

    group: Group
    hosts: Sequence[str]
    place: Path
    crew: Crew

    def play(self, playbook: str, environ: Mapping[str, str]) -> None:
        run = Run(
            playbook=playbook,
            inventory=self.group.inventory,
            hosts=self.hosts,
            log=self.place / f"{playbook}.log",
            variables=self._variables(),
            limit=self.group.limit,
        )
        recap = play(run, lambda _: None, environ)
        for name, host in recap.hosts.items():
            if not host.well:
                raise LoadtestError(f"{name}: no worker: {host.reason}")

    def _variables(self) -> dict[str, Any]:
        return {
            "load_worker_archive": str(_packed(self.place)),
            "load_worker_constraints": str(CONSTRAINTS),
            "load_worker_master_host": own_address(),
            "load_worker_master_port": self.crew.port,
            "load_worker_seconds": MOST_S,
            **self.group.variables,
        }


def _packed(place: Path) -> Path:
    """The scenarios as a tar file: `loadtests/*.py`."""
    archive = place / "loadtests.tar"
    if not archive.exists():
        with tarfile.open(archive, "w") as tar:
            for file in sorted(folder().glob("*.py")):
                tar.add(file, f"loadtests/{file.name}")
    return archive


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port


def own_address() -> str:
    """Ours towards the world; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
    return address
