"""What this kernel and this user give us to hold code with; asked once, at start.

The answer is a value: a level, and findings for people, each with the line that would
mend it. Level `full` is namespaces, a memory control group and a seccomp filter,
`namespaces` lacks one of the latter, `rlimits` has nothing but resource limits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.sandbox.cgroup import Cgroups, find_cgroups
from edge_agent.sandbox.identity import Identities
from edge_agent.sandbox.seccomp import assemble

PROBE_TIMEOUT_S = 5.0
FULL, NAMESPACES, RLIMITS = "full", "namespaces", "rlimits"

#: The least that a sandbox of level `namespaces` is made of.
_TRIAL = (
    *("--unshare-pid", "--unshare-ipc", "--unshare-uts"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--ro-bind", "/", "/", "--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that could be better: `mend` is the line that would do it."""

    text: str
    mend: str

    def __str__(self) -> str:
        return f"{self.text}; to mend it: {self.mend}"


@dataclass(frozen=True, slots=True)
class Probe:
    """The kernel's gifts. `bwrap` is its path where namespaces work, else empty.

    `nobody`: we are root and can start it as a user that owns nothing; `own_users`: and
    an interpreter by itself, at `rlimits`. `seccomp`: our filter can be installed here.
    """

    bwrap: str = ""
    user_namespace: bool = False
    cgroup_namespace: bool = False
    sized_tmpfs: bool = False
    nobody: bool = False
    own_users: bool = False
    seccomp: bool = False
    cgroups: Cgroups = field(default_factory=Cgroups)
    findings: tuple[Finding, ...] = ()

    @property
    def level(self) -> str:
        if not self.bwrap:
            return RLIMITS
        return FULL if self.seccomp and self.cgroups.memory else NAMESPACES

    @property
    def gives(self) -> dict[str, str]:
        """What levels are made of, and how this machine has it; for people."""
        namespaces = "none" if not self.bwrap else "mount, pid, ipc, uts, net"
        for name, there in (
            ("user", self.user_namespace),
            ("cgroup", self.cgroup_namespace),
        ):
            namespaces += f", {name}" if there else ""
        return {
            "namespaces": namespaces,
            "memory control group": _place(self.cgroups.memory, self.cgroups),
            "process control group": _place(self.cgroups.pids, self.cgroups),
            "processor control group": _place(self.cgroups.cpu, self.cgroups),
            "seccomp filter": "yes" if self.seccomp else "none",
            "user of actions": "one that owns nothing, each its own"
            if self.nobody or self.own_users
            else "the agent's",
        }


def _place(place: Path | None, cgroups: Cgroups) -> str:
    if place is None:
        return f"none ({cgroups.reason})" if cgroups.reason else "none"
    return f"version {cgroups.version}"


_BARE_ROOT_FINDING = Finding(
    "actions run as root: they can read the node's keys and all of its data",
    "apt-get install util-linux (setpriv), or run the agent as a user of its own",
)
_ROOT_FINDING = Finding(
    "sandboxes are held, but are the user root outside of their namespaces",
    "run the agent as a user of its own, or allow users to make user namespaces",
)


def probe_kernel(*, bwrap: str | None = None, cgroup_root: Path | None = None) -> Probe:
    """Try things out; blocks for some tens of milliseconds, PROBE_TIMEOUT_S at most.

    Args:
        bwrap: the executable, looked up on PATH when None.
        cgroup_root: where control groups are mounted, when not where they usually are.
    """
    findings: list[Finding] = []
    path = shutil.which("bwrap") if bwrap is None else bwrap
    works = bool(path) and _namespaces_work(path or "", findings)
    if not path:
        findings.append(
            Finding("bubblewrap is not installed", "apt-get install bubblewrap")
        )
    nobody = works and _nobody_works(path or "")
    own_users = not works and _own_users_work()
    if os.geteuid() == 0 and not (nobody or own_users):
        findings.append(_ROOT_FINDING if works else _BARE_ROOT_FINDING)
    cgroups = find_cgroups(cgroup_root or Path("/sys/fs/cgroup"))
    findings += _cgroup_findings(cgroups)
    seccomp = works and _filter_works(path or "", findings)
    return Probe(
        bwrap=path if works and path else "",
        user_namespace=works and _run(path, "--unshare-user", *_TRIAL) is None,
        cgroup_namespace=works and _run(path, "--unshare-cgroup", *_TRIAL) is None,
        sized_tmpfs=works
        and _run(path, "--size", "4096", *_TRIAL[-2:], *_TRIAL) is None,
        nobody=nobody,
        own_users=own_users,
        seccomp=seccomp,
        cgroups=cgroups,
        findings=tuple(findings),
    )


def _namespaces_work(path: str, findings: list[Finding]) -> bool:
    trouble = _run(path, *_TRIAL)
    if trouble is None:
        return True
    findings.append(Finding(f"bubblewrap cannot make namespaces: {trouble}", _remedy()))
    return False


def _nobody_works(path: str) -> bool:
    """Whether root can start bubblewrap as a user that does not exist."""
    guard = Identities().next()
    if os.geteuid() != 0 or not guard:
        return False
    return _run(*guard, path, "--unshare-user", *_TRIAL) is None


def _own_users_work() -> bool:
    """Whether root can start anything as a user that does not exist."""
    guard = Identities().next()
    return os.geteuid() == 0 and bool(guard) and _run(*guard) is None


def _remedy() -> str:
    """The usual causes, by the switches that distributions have for them."""
    if _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "sysctl -w kernel.unprivileged_userns_clone=1"
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    if _read("/proc/sys/user/max_user_namespaces") == "0":
        return "sysctl -w user.max_user_namespaces=10000"
    return "allow the agent's user to create user namespaces"


def _cgroup_findings(cgroups: Cgroups) -> list[Finding]:
    if cgroups.memory:
        return []
    if cgroups.reason == "absent":
        return [_absent_memory(_read("/proc/cmdline"))]
    return [
        Finding(
            f"the memory control group is not ours to use ({cgroups.reason})",
            "Delegate=yes in the agent's systemd unit",
        )
    ]


def _absent_memory(told: str) -> Finding:
    """A Pi's firmware disables it, unless its own file says otherwise."""
    if "cgroup_enable=memory" in told.split():
        return Finding(
            "the kernel has no memory control group although its arguments ask for it",
            "a kernel with CONFIG_MEMCG=y (apt-get install linux-image-rpi-v8); until "
            "then memory is bounded by resource limits",
        )
    place = "/boot/firmware/cmdline.txt"
    if Path("/etc/default/grub").exists() and not Path(place).exists():
        place = "GRUB_CMDLINE_LINUX in /etc/default/grub (then update-grub)"
    elif Path("/boot/cmdline.txt").exists() and not Path(place).exists():
        place = "/boot/cmdline.txt"
    return Finding(
        "the kernel has no memory control group",
        f"add `cgroup_enable=memory cgroup_memory=1` to {place} and reboot",
    )


def _filter_works(path: str, findings: list[Finding]) -> bool:
    machine = os.uname().machine
    program = assemble(machine)
    if program is None:
        findings.append(
            Finding(f"there is no seccomp filter for {machine}", "run a 64-bit system")
        )
        return False
    fd = os.memfd_create("filter")
    try:
        os.write(fd, program)
        os.lseek(fd, 0, os.SEEK_SET)
        trouble = _run(path, "--seccomp", str(fd), *_TRIAL, kept=fd)
    finally:
        os.close(fd)
    if trouble is not None:
        findings.append(
            Finding(
                f"a seccomp filter cannot be installed: {trouble}",
                "a kernel with CONFIG_SECCOMP_FILTER=y, and programs for the same "
                "architecture as the kernel",
            )
        )
    return trouble is None


def _run(path: str | None, *arguments: str, kept: int | None = None) -> str | None:
    """Run bubblewrap around `true`: None when that worked, else why not."""
    try:
        done = subprocess.run(
            [str(path), *arguments, "true"],
            check=False,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            pass_fds=() if kept is None else (kept,),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    said = done.stderr.decode(errors="replace").strip()
    return None if done.returncode == 0 else said or f"exit code {done.returncode}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
