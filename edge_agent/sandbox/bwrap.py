"""The arguments of bubblewrap for one sandbox: a pure function of what was probed.

Every mount and namespace is paid for at each cold start, so there is nothing here
that code does not need: no /sys, /home, /root or /var, six devices, three pieces of
/etc. The interpreter's own folder is added only when it lies outside /usr.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent import settings
from edge_agent.sandbox.identity import INSIDE as INSIDE_ID
from edge_agent.sandbox.probe import Probe
from edge_agent.sandbox.runtimes import Runtime

ACTION = "/action"
TMP = "/tmp"  # noqa: S108
INSIDE = "/run/edgewhisk"
_SYSTEM = ("/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")
_DEVICES = ("null", "zero", "full", "random", "urandom")
#: To mount, to change users, to drop the rest, to raise a loopback interface.
_SERVER_CAPABILITIES = ("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP", "NET_ADMIN")
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    # Semaphores and shared memory of multiprocessing: bounded as /tmp is.
    (TMP, "/dev/shm"),  # noqa: S108
)


@dataclass(frozen=True, slots=True)
class Folders:
    """What the factory has prepared: launchers, its /etc, and parts of the real one."""

    launchers: str
    etc: str
    etc_bound: Sequence[str] = ()
    #: (target of the link, or empty for a folder to bind, place) of /lib and so on.
    system: Sequence[tuple[str, str]] = field(default_factory=tuple)


def system_places() -> tuple[tuple[str, str], ...]:
    """How /lib, /bin ... stand on this machine: links into /usr, or folders."""
    places = []
    for place in map(Path, _SYSTEM):
        if place.is_symlink():
            places.append((str(place.readlink()), str(place)))
        elif place.is_dir():
            places.append(("", str(place)))
    return tuple(places)


def arguments(
    probe: Probe,
    sandbox: settings.Sandboxing,
    runtime: Runtime,
    folders: Folders,
    *,
    network: bool,
    filter_fd: int | None = None,
) -> list[str]:
    """All arguments up to, and without, the command to run."""
    filtered = [] if filter_fd is None else ["--seccomp", str(filter_fd)]
    return [
        *_namespaces(network=network),
        *_identity(probe),
        *filtered,
        *_system(runtime, folders),
        *_devices(),
        *_writable(probe, sandbox.tmp_mb << 20),
        *("--remount-ro", "/", "--chdir", ACTION),
    ]


def server_arguments(
    probe: Probe, runtime: Runtime, folders: Folders, *, as_root: bool
) -> list[str]:
    """Those around a fork server, whose children mount the rest by themselves.

    As root it keeps what its children need to leave root behind.
    """
    return [
        *_namespaces(network=True),
        *(_as_root(runtime) if as_root else _identity(probe)),
        "--as-pid-1",
        *_system(runtime, folders),
        *_devices(),
        *("--dir", TMP, "--dir", ACTION),
        *("--remount-ro", "/", "--chdir", "/"),
    ]


def _as_root(runtime: Runtime) -> list[str]:
    """The folders that hold others would be root's alone."""
    found = []
    for name in _SERVER_CAPABILITIES:
        found += ["--cap-add", f"CAP_{name}"]
    for folder in dict.fromkeys(("/dev", str(Path(INSIDE).parent), *_above(runtime))):
        found += ["--perms", "0755", "--dir", folder]
    return found


def _above(runtime: Runtime) -> list[str]:
    """The folders above those that are bound, the highest first."""
    found: list[str] = []
    for root in _outside(runtime):
        found += [str(path) for path in reversed(Path(root).parents)][1:]
    return found


def _outside(runtime: Runtime) -> list[str]:
    """What it needs that does not lie in /usr."""
    roots = dict.fromkeys(runtime.roots)
    return [root for root in roots if not Path(root).is_relative_to("/usr")]


def _namespaces(*, network: bool) -> list[str]:
    return [
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *([] if network else ["--unshare-net"]),
        *("--hostname", "action", "--die-with-parent", "--new-session"),
        *("--cap-drop", "ALL"),
    ]


def _identity(probe: Probe) -> list[str]:
    flags = []
    if probe.user_namespace:
        flags += ["--unshare-user", "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID)]
    if probe.cgroup_namespace:
        flags.append("--unshare-cgroup")
    return flags


def _system(runtime: Runtime, folders: Folders) -> list[str]:
    found = ["--ro-bind", "/usr", "/usr"]
    for target, place in folders.system:
        found += ["--symlink", target, place] if target else ["--ro-bind", place, place]
    for root in _outside(runtime):
        found += ["--ro-bind", root, root]
    found += ["--ro-bind", folders.launchers, INSIDE, "--ro-bind", folders.etc, "/etc"]
    for name in folders.etc_bound:
        found += ["--ro-bind", f"/etc/{name}", f"/etc/{name}"]
    return [*found, "--proc", "/proc"]


def _devices() -> list[str]:
    found = []
    for name in _DEVICES:
        found += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for target, place in _LINKS:
        found += ["--symlink", target, place]
    return found


def _writable(probe: Probe, size: int) -> list[str]:
    sized = ["--size", str(size)] if probe.sized_tmpfs else []
    return [*sized, "--tmpfs", TMP, *sized, "--tmpfs", ACTION]
