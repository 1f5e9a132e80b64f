"""The code of a manifest's actions: from a file, a folder, or the manifest itself."""

from __future__ import annotations

import base64
import fnmatch
import io
import zipfile
from pathlib import Path

from msgspec import UNSET

from controller.fleet.code import CodeError, executable
from controller.manifest.document import Part
from edge_agent.model.entities import Exec

#: What `native: true` means (wsk --native sends the same).
NATIVE_IMAGE = "openwhisk/dockerskeleton"
BLACKBOX = "blackbox"
#: The oldest date a zip can say: the same folder is the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)


def read_exec(fields: dict[str, Part], action: Part) -> Exec:
    """The `exec` of an action from its fields.

    Raises:
        ManifestError: there is no code, or it cannot be used; with the line.
    """
    main = fields["main"].text() if "main" in fields else None
    kind = _kind(fields.get("runtime"))
    image = _image(fields)
    if "code" in fields and "function" in fields:
        fields["code"].fail(f"{action.what} has both code and function; keep one")
    if "code" in fields:
        if kind is None and image is None:
            action.fail(f"{action.what}: code needs a runtime, for example python")
        found = Exec(kind=kind or BLACKBOX, code=fields["code"].raw(), binary=False)
    elif "function" in fields:
        found = _from_file(fields["function"], kind or (image and BLACKBOX), fields)
    elif image is not None:
        return Exec(kind=BLACKBOX, image=image, main=main or UNSET)
    else:
        action.fail(f"{action.what} has no code; name a file with function:")
    return Exec(
        kind=BLACKBOX if image else found.kind,
        code=found.code,
        binary=found.binary,
        main=main or UNSET,
        image=image or UNSET,
    )


def _kind(runtime: Part | None) -> str | None:
    """`python` -> python:default, `nodejs@20` -> nodejs:20."""
    if runtime is None:
        return None
    family, _, version = runtime.text().replace("@", ":").partition(":")
    return f"{family}:{version or 'default'}"


def _image(fields: dict[str, Part]) -> str | None:
    if "docker" in fields:
        return fields["docker"].text()
    if "native" in fields and fields["native"].flag():
        return NATIVE_IMAGE
    return None


def _from_file(function: Part, kind: str | None, fields: dict[str, Part]) -> Exec:
    name = function.text()
    if "://" in name or name.startswith("github.com/"):
        function.fail(f"{name}: code is not fetched from elsewhere; put it in a file")
    path = function.path.parent / name
    if path.is_dir():
        if kind is None:
            function.fail(f"{path} is a folder: give its runtime, for example nodejs")
        code = base64.b64encode(_zipped(path, _excluded(fields))).decode()
        return Exec(kind=kind, code=code, binary=True)
    try:
        return executable(path, kind=kind)
    except CodeError as error:
        return function.fail(str(error).replace("--kind", "runtime:"))


def _excluded(fields: dict[str, Part]) -> list[str]:
    found = fields["exclude"].value() if "exclude" in fields else []
    if not isinstance(found, list):
        fields["exclude"].fail("exclude is a list of patterns")
    return [str(pattern) for pattern in found]


def _zipped(folder: Path, excluded: list[str]) -> bytes:
    """An archive that depends on names and contents alone."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir() or any(fnmatch.fnmatch(name, p) for p in excluded):
                continue
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (
                0o755 if path.stat().st_mode & 0o111 else 0o644
            ) << 16
            out.writestr(entry, path.read_bytes())
    return archive.getvalue()
