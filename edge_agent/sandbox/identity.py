"""Who sandboxes are when the agent is root: users that own nothing on this machine.

bubblewrap maps the user it was started by, and root without capabilities still owns
every file of the system. So the agent makes one user namespace of its own, once, whose
users are numbers that nobody has, and every bubblewrap joins it. Each sandbox gets a
number of its own: limits that are counted by user are then counted by sandbox.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from itertools import count
from pathlib import Path

#: Ids inside: 1000 and up. Those outside are in a range that systemd's list of ranges
#: leaves to nobody.
FIRST_INSIDE, FIRST_OUTSIDE, NUMBER = 1000, 2_100_000_000, 1024
UNSHARE_TIMEOUT_S = 5.0
_UNSHARE = ["unshare", "--user", "sh", "-c", "echo ready; read -r done"]


class Identities:
    """`fd` is the user namespace that bubblewrap joins; -1 when there is none.

    Without one every sandbox is the agent's own user outside, and 1000 inside.
    """

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd
        self._numbers = count()

    def next(self) -> int:
        """The user id inside for a new sandbox."""
        if self.fd < 0:
            return FIRST_INSIDE
        return FIRST_INSIDE + next(self._numbers) % NUMBER

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def passwd() -> str:
    """Every user id that may be met inside has a name."""
    return _names("{name}:x:{number}:{number}::/action:/bin/sh\n")


def group() -> str:
    return _names("{name}:x:{number}:\n")


def _names(line: str) -> str:
    lines = [line.format(name="root", number=0)]
    for number in range(NUMBER):
        name = f"action{number or ''}"
        lines.append(line.format(name=name, number=FIRST_INSIDE + number))
    return "".join(lines)


def make_identities(needed: Iterable[str]) -> Identities:
    """The users of nobody, where we are root and they could read the paths `needed`.

    Blocks for some milliseconds. In a container that has few ids there are none.
    """
    if os.geteuid() != 0 or not all(map(_open_to_all, needed)):
        return Identities()
    try:
        return Identities(_make_user_namespace())
    except (OSError, subprocess.SubprocessError):
        return Identities()


def _open_to_all(path: str) -> bool:
    try:
        folders = [Path(path).resolve(strict=True), *Path(path).resolve().parents]
        return all(folder.stat().st_mode & 0o001 for folder in folders)
    except OSError:
        return False


def _make_user_namespace() -> int:
    with subprocess.Popen(
        _UNSHARE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as helper:
        try:
            if helper.stdout is None or not helper.stdout.readline():
                raise OSError("no user namespace")
            ids = f"0 {FIRST_OUTSIDE - 1} 1\n{FIRST_INSIDE} {FIRST_OUTSIDE} {NUMBER}\n"
            for kind in ("uid_map", "gid_map"):
                Path(f"/proc/{helper.pid}/{kind}").write_text(ids)
            return os.open(f"/proc/{helper.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            helper.communicate(timeout=UNSHARE_TIMEOUT_S)
