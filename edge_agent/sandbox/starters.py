"""Which starter a factory has, by what the kernel gives, and the files it needs."""

from __future__ import annotations

import logging
import os

from edge_agent import settings
from edge_agent.sandbox import bwrap, seccomp
from edge_agent.sandbox.folders import FactoryFolder
from edge_agent.sandbox.fork_starter import ForkStarter, Join
from edge_agent.sandbox.identity import Identities, open_to_all
from edge_agent.sandbox.probe import RLIMITS, Probe
from edge_agent.sandbox.runtimes import Runtimes
from edge_agent.sandbox.starter import NamespaceStarter, PlainStarter, Starter
from edge_agent.sandbox.system import SystemFiles

#: The file of the seccomp filter, among the launchers.
FILTER = "seccomp.bpf"

_log = logging.getLogger(__name__)


def make_starter(
    probe: Probe,
    sandbox: settings.Sandboxing,
    runtimes: Runtimes,
    folder: FactoryFolder,
    *,
    join: Join,
) -> tuple[Starter, bwrap.Folders]:
    """Touches the disk. `join`: see fork_starter.py."""
    launchers = str(folder.launchers)
    roots = [root for runtime in runtimes.found for root in runtime.roots]
    readable = open_to_all([launchers, *roots])
    if probe.level == RLIMITS:
        nobody = probe.own_users and readable
        if os.geteuid() == 0 and not nobody:
            _log.warning("actions run as root: they can read the node's keys")
        identities = Identities(wanted=nobody)
        plain = PlainStarter(
            folder=folder.path, launchers=launchers, identities=identities
        )
        return plain, bwrap.Folders(launchers, str(folder.etc))
    etc = SystemFiles(folder.etc)
    etc.build()
    folders = bwrap.Folders(
        launchers=launchers,
        etc=str(etc.folder),
        etc_bound=etc.bound,
        system=bwrap.system_places(),
    )
    identities = Identities(wanted=probe.nobody and readable)
    starter = NamespaceStarter(
        probe,
        sandbox,
        folders,
        identities,
        etc.refresh,
        filter_path=_write_filter(probe, folder),
    )
    python = runtimes.forked
    if python is None or not sandbox.fork_server:
        return starter, folders
    arguments = bwrap.server_arguments(
        probe, python, folders, as_root=os.geteuid() == 0
    )
    forking = ForkStarter(
        python,
        bubblewrap=probe.bwrap,
        arguments=arguments,
        otherwise=starter,
        join=join,
        identity=identities.number,
        filter_path=f"{bwrap.INSIDE}/{FILTER}" if probe.seccomp else os.devnull,
        folder_bytes=sandbox.tmp_mb << 20,
        spare=sandbox.parked,
    )
    return forking, folders


def _write_filter(probe: Probe, folder: FactoryFolder) -> str:
    """Where the sandboxes find it; empty without one."""
    program = seccomp.assemble(os.uname().machine)
    if program is None or not probe.seccomp:
        return ""
    path = folder.launchers / FILTER
    path.write_bytes(program)
    path.chmod(0o644)
    return str(path)
