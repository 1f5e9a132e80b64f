"""Subjects as their node's admin sees them (F3)."""

from __future__ import annotations

import msgspec


class SubjectNamespace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A namespace with the key that opens it; lists leave the key out."""

    name: str
    uuid: str
    key: str = ""


class Subject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    subject: str
    namespaces: list[SubjectNamespace]
    blocked: bool = False


class SubjectPut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for; without namespaces one that is called like the subject.

    `auth` is the key to be used, `uuid:key`; without it one is made.
    """

    namespaces: list[str] = []
    auth: str | None = None


class SubjectPatch(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    blocked: bool
