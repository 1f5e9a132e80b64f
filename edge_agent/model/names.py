"""Names: what may be called what, and how a path is read (A1, A10, A61, B25, B57)."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass

from edge_agent.model.errors import IllegalName

NAME_MAX = 256
ACTIVATION_ID_LENGTH = 32
#: The caller's own namespace (A1).
OWN_NAMESPACE = "_"
#: The namespace of the built-in packages.
SYSTEM_NAMESPACE = "whisk.system"

_NAME = re.compile(r"\A(?:\w|\w[\w@ .&-]{0,254}[\w@.&-])\Z", re.ASCII)
_ACTIVATION_ID = re.compile(r"\A[0-9a-f]{32}\Z")


def check_name(text: str) -> str:
    """Return `text` when it is a legal entity name (A10), else raise IllegalName."""
    if len(text) > NAME_MAX:
        raise IllegalName(
            f"Name segement longer than allowed: {len(text)} > {NAME_MAX}."
        )
    if not _NAME.match(text):
        raise IllegalName("The name of the entity contains illegal characters.")
    return text


def check_namespace(text: str) -> str:
    if len(text) > NAME_MAX:
        raise IllegalName(f"Namespace longer than allowed: {len(text)} > {NAME_MAX}.")
    if not _NAME.match(text):
        raise IllegalName("The namespace contains illegal characters.")
    return text


def check_activation_id(text: str) -> str:
    if len(text) != ACTIVATION_ID_LENGTH:
        raise IllegalName(
            f"Activation id length is {len(text)} but must be {ACTIVATION_ID_LENGTH}."
        )
    if not _ACTIVATION_ID.match(text):
        raise IllegalName("The activation id is not valid.")
    return text


#: Ids need to be unique, not secret: they are looked up within the caller's own
#: namespace. A generator seeded by the system costs a tenth of a `getrandom` each.
_random = random.Random()  # noqa: S311
_TIME_BITS, _RANDOM_BITS = 48, 80
_UUID7_CLEAR = ~(0xF << 76 | 0x3 << 62)
_UUID7_SET = 0x7 << 76 | 0x2 << 62


def new_activation_id() -> str:
    """A UUID without dashes (B32), of version 7: it begins with the time.

    Ids that come together stand together in the store's index: with random ones every
    commit wrote most of its pages, three quarters of what a burst wrote in all.
    """
    now_ms = time.time_ns() // 1_000_000 & (1 << _TIME_BITS) - 1
    value = now_ms << _RANDOM_BITS | _random.getrandbits(_RANDOM_BITS)
    return f"{value & _UUID7_CLEAR | _UUID7_SET:032x}"


@dataclass(frozen=True, slots=True, order=True)
class FullName:
    """`namespace/[package/]name` of an entity; compares and hashes by value."""

    namespace: str
    name: str
    package: str | None = None

    @property
    def path(self) -> str:
        """The entity's `namespace` field on the wire: `ns` or `ns/pkg` (B1)."""
        return f"{self.namespace}/{self.package}" if self.package else self.namespace

    @property
    def within(self) -> str:
        """The name inside its namespace: `name` or `pkg/name` (B34, E12)."""
        return f"{self.package}/{self.name}" if self.package else self.name

    def __str__(self) -> str:
        return f"{self.namespace}/{self.within}"

    @classmethod
    def parse(cls, text: str, *, own: str) -> FullName:
        """Read `/ns/[pkg/]name`, `ns/[pkg/]name` or a name; `_` means `own`.

        Raises:
            IllegalName: a segment is illegal or there are too many.
        """
        parts = text.removeprefix("/").split("/")
        rooted = text.startswith("/") or len(parts) > 1
        if not rooted:
            parts = [OWN_NAMESPACE, *parts]
        if len(parts) not in (2, 3):
            raise IllegalName("The name of the entity contains illegal characters.")
        namespace = own if parts[0] == OWN_NAMESPACE else check_namespace(parts[0])
        for part in parts[1:]:
            check_name(part)
        package = parts[1] if len(parts) == 3 else None  # noqa: PLR2004 ns/pkg/name
        return cls(namespace, parts[-1], package)
