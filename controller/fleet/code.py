"""From a file to an action's `exec`: its kind, its code."""

from __future__ import annotations

import base64
import zipfile
from pathlib import Path
from typing import ClassVar

from msgspec import UNSET

from edge_agent.model.entities import Exec
from edge_agent.model.errors import EdgeWhiskError

KINDS = {
    ".py": "python:default",
    ".js": "nodejs:default",
    ".cjs": "nodejs:default",
    ".mjs": "nodejs:default",
}
#: A file at the top of an archive that tells its kind.
ZIP_KINDS = {
    "__main__.py": "python:default",
    "package.json": "nodejs:default",
    "index.js": "nodejs:default",
}


class CodeError(EdgeWhiskError):
    """The file cannot be an action; the text says why."""

    exit_code: ClassVar[int] = 2


def executable(file: Path, *, kind: str | None = None, main: str | None = None) -> Exec:
    """The `exec` of an action whose code is `file`.

    Raises:
        CodeError: the file cannot be read, or its kind is not known.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CodeError(f"{file}: cannot be read: {error.strerror}") from error
    zipped = file.suffix == ".zip"
    found = kind or (_kind_of_zip(file) if zipped else KINDS.get(file.suffix))
    if found is None:
        known = ", ".join([*KINDS, ".zip"])
        raise CodeError(f"{file}: what kind is this? Give --kind (known: {known})")
    code = base64.b64encode(content).decode() if zipped else _text(file, content)
    return Exec(kind=found, code=code, binary=zipped, main=main or UNSET)


def _text(file: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CodeError(f"{file}: not UTF-8 text: {error}") from error


def _kind_of_zip(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise CodeError(f"{file}: not a zip archive: {error}") from error
    return next((kind for name, kind in ZIP_KINDS.items() if name in names), None)
