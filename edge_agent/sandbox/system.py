"""The /etc that sandboxes see: a small copy in the factory's folder, bound as one.

Binding each file by itself would cost a mount each, and a bound file goes stale when
the system replaces it (resolv.conf, on every change of network): the copy is renewed
when the original is newer, and what runs already sees it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from edge_agent.sandbox import identity

_COPIED = (
    "hosts",
    "resolv.conf",
    "nsswitch.conf",
    "localtime",
    "timezone",
    "ld.so.cache",
    "mime.types",
    "protocols",
    "services",
    "ssl/openssl.cnf",
)
#: Bound over the copy, because they are folders full of links.
BOUND = ("alternatives", "ssl/certs")


class SystemFiles:
    """`folder` is the copy; `refresh` brings resolv.conf up to date."""

    def __init__(self, folder: Path, *, original: Path = Path("/etc")) -> None:
        self.folder = folder
        self._original = original
        self._resolver_ns = 0

    def build(self) -> None:
        for name in ("ssl", *BOUND):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "passwd").write_text(identity.PASSWD)
        (self.folder / "group").write_text(identity.GROUP)
        for name in _COPIED:
            self._copy(name)
        self.refresh()

    @property
    def bound(self) -> list[str]:
        """The folders of BOUND that this system has."""
        return [name for name in BOUND if (self._original / name).is_dir()]

    def refresh(self) -> None:
        try:
            changed_ns = os.stat(self._original / "resolv.conf").st_mtime_ns  # noqa: PTH116
        except OSError:
            return
        if changed_ns != self._resolver_ns:
            self._copy("resolv.conf")
            self._resolver_ns = changed_ns

    def _copy(self, name: str) -> None:
        target = self.folder / name
        with contextlib.suppress(OSError):
            draft = target.with_name(target.name + ".new")
            shutil.copyfile(self._original / name, draft)
            draft.chmod(0o644)
            draft.replace(target)
