"""The factory's folder: launchers and a small /etc, and work folders at `rlimits`.

It lies where every user may pass through, because sandboxes read it as nobody. A lock
on a file in it says that its agent lives; folders of dead agents are cleared, and with
them what their sandboxes left running.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from edge_agent.sandbox.hold import COOKIE, kill_strays

PREFIX = "edgewhisk-"
_LOCK = "lock"


class FactoryFolder:
    """`path`, ours until `remove`."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self.launchers = path / "launchers"
        self.etc = path / "etc"
        self._lock_fd = lock_fd

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.unlock()

    def unlock(self) -> None:
        """From here on it is nobody's, and the next factory clears it."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def make_folder(parent: Path | None = None) -> FactoryFolder:
    """A new folder, after the dead ones beside it were cleared."""
    parent = parent or _parent()
    for path in parent.glob(f"{PREFIX}*"):
        _clear_if_dead(path)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    path.chmod(0o711)
    # Locked before it has its name: another that starts now must not find it unlocked.
    unnamed = path / f"{_LOCK}.new"
    lock_fd = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock_fd, fcntl.LOCK_EX)
    unnamed.rename(path / _LOCK)
    folder = FactoryFolder(path, lock_fd)
    folder.launchers.mkdir(mode=0o755)
    folder.etc.mkdir(mode=0o755)
    return folder


def _parent() -> Path:
    """For root a folder in memory; for others their temporary folder."""
    run = Path("/run")
    if os.geteuid() == 0 and os.access(run, os.W_OK):
        return run
    return Path(tempfile.gettempdir())


def _clear_if_dead(path: Path) -> None:
    """Without a lock file it is somebody's who has only begun, or not ours."""
    try:
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        kill_strays(f"{COOKIE}={path.name}/")
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)
