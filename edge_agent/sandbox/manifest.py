"""The manifest of kinds: what is known of a family before anything was probed.

A family is a table of TOML: `kinds.toml` has those that every node knows, a folder of
the user's has more, each in a file beside its launcher. No I/O but reading them.
"""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

BUILT_IN = Path(__file__).parent / "launchers" / "kinds.toml"
DEFAULT = "default"
_FAMILY = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_RESERVED = {"blackbox", "sequence", "builtin"}


class KindError(ValueError):
    """A table of a manifest that cannot be used; the text says why."""


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language.

    Attributes:
        launcher: a file beside the manifest.
        interpreter: the program that runs it, with its whole path.
        version: arguments that make the interpreter print its version.
        version_parts: how many numbers of it name the kind: 2 of 5.2.15 give `x:5.2`.
        source: the file that an action's code is put into, and that a zip must hold.
        names: further kinds that `GET /` lists; all of them run on what is installed.
        accepts: a regular expression for kinds that are taken beside those.
        default: what `family:default` is stored as; by default what is installed.
        refused: patterns of kinds that are not taken, and why not.
        images: patterns of images without their tags, and the kind they run as.
        environment: further variables.
        beside_mb: what the interpreter maps beside the memory of the action.
    """

    launcher: str
    interpreter: str = ""
    version: tuple[str, ...] = ("--version",)
    version_parts: int = 1
    source: str = ""
    names: list[str] = []
    accepts: str = ""
    default: str = ""
    refused: dict[str, str] = {}
    images: dict[str, str] = {}
    environment: dict[str, str] = {}
    beside_mb: int = 64

    def takes(self, kind: str) -> bool:
        return kind in self.names or bool(re.fullmatch(self.accepts or "(?!)", kind))

    def why_not(self, kind: str) -> str:
        refused = self.refused.items()
        return next((why for glob, why in refused if fnmatchcase(kind, glob)), "")


Families = dict[str, Family]


def read_families(path: Path) -> Families:
    """The tables of one file.

    Raises:
        KindError: it cannot be read, or a table is wrong.
    """
    try:
        document = tomllib.loads(path.read_text())
        families = msgspec.convert(document, Families)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise KindError(f"{path}: {error}") from error
    for name, family in families.items():
        _check(name, family, path)
    return families


def _check(name: str, family: Family, path: Path) -> None:
    if not _FAMILY.fullmatch(name) or name in _RESERVED:
        raise KindError(f"{path}: {name} is no name for a kind")
    strange = [kind for kind in family.names if kind.partition(":")[0] != name]
    if strange:
        raise KindError(f"{path}: {strange[0]} is no kind of {name}")
    if Path(family.launcher).name != family.launcher:
        raise KindError(f"{path}: {name}.launcher is a file's name, without a folder")
    try:
        re.compile(family.accepts)
    except re.error as error:
        raise KindError(f"{path}: {name}.accepts: {error}") from error


def check_own(name: str, family: Family, path: Path, *, known: set[str]) -> None:
    """What holds for a user's family: it is new, its interpreter and file are told.

    Raises:
        KindError: they are not, or it has no launcher.
    """
    if name in known:
        raise KindError(f"{path}: {name} is there already")
    if not Path(family.interpreter).is_absolute():
        raise KindError(f"{path}: {name}.interpreter must be a program's whole path")
    if not family.source or Path(family.source).name != family.source:
        raise KindError(f"{path}: {name}.source must be a file's name")
    if not (path.parent / family.launcher).is_file():
        raise KindError(f"{path}: there is no {path.parent / family.launcher}")


def image_name(image: str) -> str:
    """Without registry, tag and digest: `docker.io/whisk/x:1.0` is `whisk/x`."""
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    name = folder + slash + last.partition(":")[0]
    host, slash, rest = name.partition("/")
    return rest if slash and ("." in host or ":" in host) else name


def kind_of_image(image: str, patterns: dict[str, str]) -> str:
    """The kind that an image runs as; empty when no pattern fits."""
    name = image_name(image)
    found = (kind for pattern, kind in patterns.items() if fnmatchcase(name, pattern))
    return next(found, "")
