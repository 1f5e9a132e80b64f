"""Who sandboxes are when the agent is root: users that own nothing on this machine.

bubblewrap maps the user it was started by, and root without capabilities still owns
every file of the system. So `setpriv` (a millisecond) gives each bubblewrap a user id
that nobody has. It must be bubblewrap's own: a process may only be told of the death of
a parent that was allowed to kill it, and dying with the agent hangs on that. With an id
for each sandbox no two of them can reach each other, whatever else fails.

Where there are no namespaces this is all that keeps an action from the node's keys.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from itertools import count
from pathlib import Path

#: Who code is inside.
INSIDE = 1000
#: Ids outside, in a range that systemd's list of ranges leaves to nobody.
_FIRST, _NUMBER = 2_100_000_000, 1_000_000
PASSWD = f"root:x:0:0::/:/bin/sh\naction:x:{INSIDE}:{INSIDE}::/action:/bin/sh\n"
GROUP = f"root:x:0:\naction:x:{INSIDE}:\n"


class Identities:
    """Makes each sandbox nobody, unless `wanted` is false.

    Agents on one machine must not share ids: each begins at its own process id.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self._wanted = wanted
        self._program = find_setpriv() if wanted else ""
        self._numbers = count(os.getpid() * 97)

    def number(self) -> int:
        """A user id that is nobody's; 0 for the agent's own."""
        return _FIRST + next(self._numbers) % _NUMBER if self._wanted else 0

    def next(self) -> tuple[str, ...]:
        """What to put before a command that shall run as nobody."""
        if not self._program:
            return ()
        return (self._program, *become(self.number()))


def become(user: int) -> tuple[str, ...]:
    """What setpriv is told, so that a command runs as `user`."""
    ids = (f"--reuid={user}", f"--regid={user}")
    return (*ids, "--clear-groups", "--inh-caps=-all")


def find_setpriv() -> str:
    """Its path, empty where util-linux is not whole."""
    return shutil.which("setpriv", path="/usr/bin:/bin:/usr/local/bin") or ""


def open_to_all(paths: Iterable[str]) -> bool:
    """Whether somebody without rights may read what lies at `paths`."""
    return all(map(_open_to_all, paths))


def _open_to_all(path: str) -> bool:
    try:
        place = Path(path).resolve(strict=True)
        return all(folder.stat().st_mode & 0o001 for folder in [place, *place.parents])
    except OSError:
        return False
