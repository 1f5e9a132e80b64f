"""What the requirements.txt of an action asks for (C32): built once, kept by its hash.

The launcher that finds the file in a zip asks; pip then takes wheels from the node's
folder, in a sandbox without a network. The result is a folder that every sandbox of
Python can read. Only wheels are taken, because they are unpacked and not run.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge_agent import settings
from edge_agent.model.errors import SettingsError
from edge_agent.sandbox.identity import open_to_all

log = logging.getLogger(__name__)

#: A name, extras and versions, a marker: no options, no addresses, no files.
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][\w.-]*\s*(\[[\w\s,.-]*\])?\s*([(<>=!~][^@;/]*)?(;[^@/]*)?"
)
_COMMENT = re.compile(r"(^|\s)#.*")
MOST_BYTES = 16_384
NO_WHEELS = "this node has no folder of wheels (the setting runtimes.python.wheels)"

#: Put what these lines ask for into the folder; raises PackagesError. Blocks.
Build = Callable[[Sequence[str], Path], None]


class PackagesError(Exception):
    """They cannot be had; the text is for the action's user."""


def read_requirements(text: str) -> list[str]:
    """The lines, sorted, without comments.

    Raises:
        PackagesError: a line is more than a package and its versions.
    """
    if len(text) > MOST_BYTES:
        raise PackagesError(f"requirements.txt has more than {MOST_BYTES} characters")
    lines = [_COMMENT.sub("", line).strip() for line in text.splitlines()]
    for line in filter(None, lines):
        if not _REQUIREMENT.fullmatch(line):
            raise PackagesError(
                f"requirements.txt: {line!r} is no package with its versions"
            )
    return sorted({line for line in lines if line})


class Packages:
    """`folder` holds what was built, at most `most_bytes` of it.

    Args:
        folder: ours; every sandbox sees it, at the same place.
        kind: the Python it is built for.
        build: see `Build`; None where the node has no wheels.
        most_bytes: beyond, what was not used for longest goes, unless it is `in_use`.
        in_use: the folders that sandboxes have now.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kind: str,
        build: Build | None,
        most_bytes: int,
        in_use: Callable[[], set[str]],
    ) -> None:
        self._folder = folder
        self._kind = kind
        self._build = build
        self._most_bytes = most_bytes
        self._in_use = in_use
        self._building: dict[Path, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    async def of(self, text: str) -> str:
        """The folder with what `text` asks for; raises PackagesError."""
        lines = read_requirements(text)
        if not lines:
            return ""
        if self._build is None:
            raise PackagesError(NO_WHEELS)
        place = self._folder / self._name(lines)
        if not await asyncio.to_thread(_touch, place):
            await self._built(lines, place)
        return str(place)

    async def answer(self, question: bytes) -> dict[str, str]:
        """What a launcher is told that asks with the text of its file."""
        try:
            (text,) = msgspec.json.decode(question, type=tuple[str])
            return {"packages": await self.of(text)}
        except (PackagesError, msgspec.MsgspecError) as error:
            return {"error": f"{error}."}

    def _name(self, lines: Sequence[str]) -> str:
        text = "\n".join([self._kind, *lines])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    async def _built(self, lines: Sequence[str], place: Path) -> None:
        """Whoever gives up waiting leaves the work to others, who come soon."""
        task = self._building.get(place)
        if task is None:
            task = asyncio.create_task(self._make(lines, place), name="packages.build")
            self._building[place] = task
            task.add_done_callback(lambda done: self._done(place, done))
        await asyncio.shield(task)

    def _done(self, place: Path, task: asyncio.Task[None]) -> None:
        self._building.pop(place, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("packages of %s: %s", place.name, error)

    async def _make(self, lines: Sequence[str], place: Path) -> None:
        async with self._turn:  # one at a time: it takes a core
            used = self._in_use()
            await asyncio.to_thread(self._make_now, lines, place, used)

    def _make_now(self, lines: Sequence[str], place: Path, used: set[str]) -> None:
        assert self._build is not None  # noqa: S101 - `of` has asked
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
        try:
            self._build(lines, draft)
            open_to_readers(draft)
            self._make_room(_size(draft), used)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _make_room(self, wanted: int, used: set[str]) -> None:
        """Raises PackagesError when what is used leaves too little."""
        standing = [p for p in self._folder.iterdir() if not p.name.startswith(".")]
        sizes = {path: _size(path) for path in standing}
        left = self._most_bytes - wanted - sum(sizes.values())
        for path in sorted(standing, key=lambda p: p.stat().st_mtime):
            if left < 0 and str(path) not in used:
                shutil.rmtree(path, ignore_errors=True)
                left += sizes[path]
        if left < 0:
            raise PackagesError(
                "the packages of this node's actions are larger than "
                "the setting runtimes.python.packages_mb allows"
            )

    async def close(self) -> None:
        tasks = list(self._building.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _touch(place: Path) -> bool:
    """Whether it is there; then it is used now."""
    try:
        os.utime(place)
    except OSError:
        return False
    return True


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def open_to_readers(folder: Path) -> None:
    """Whoever sandboxes are, they may read it."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def make_packages_folder(python: settings.PythonRuntime, data: Path) -> Path | None:
    """The folder, which must be there before sandboxes are; None without wheels."""
    if not python.wheels:
        return None
    folder = _packages_folder(python.packages, data)
    if folder.is_relative_to("/tmp"):  # noqa: S108
        raise SettingsError(
            f"runtimes.python.packages: {folder}: sandboxes have a /tmp of their own"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            folder.chmod(0o755)
    except OSError as error:
        raise SettingsError(f"runtimes.python.packages: {error}") from error
    if os.geteuid() == 0 and not open_to_all([str(folder)]):
        raise SettingsError(
            f"runtimes.python.packages: sandboxes cannot read {folder}: "
            "it, or a folder above it, is closed to others"
        )
    return folder


def _packages_folder(wanted: str, data: Path) -> Path:
    """Where what was built is kept: `wanted`, or where every sandbox may read it.

    A sandbox of an agent that is root is nobody, and may not pass the data folder.
    """
    if wanted:
        return Path(wanted)
    if os.geteuid() == 0:
        return Path("/var/cache/edgewhisk/packages")
    return data / "packages"
