"""Subjects: who may use the node, as its admin changes it (F1, F3, D27).

The same on a running node and, by `edge-agent user`, on the store of one that is not.
What belongs to a namespace stays when its subject goes, as upstream: the next one who
is given the namespace finds it there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from edge_agent.engine.limits import Limits
from edge_agent.model.errors import BadRequest, Conflict, NotFound
from edge_agent.model.jobs import Identity
from edge_agent.model.limits import NamespaceLimits
from edge_agent.model.names import check_name, check_namespace
from edge_agent.model.subjects import Subject, SubjectNamespace
from edge_agent.store.store import Store
from edge_agent.store.subjects import KEY_LENGTH, new_identity

SUBJECT_LEAST = 5
_KEY = re.compile(
    r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):"
    rf"(?P<key>[!-9;-~]{{{KEY_LENGTH}}})"
)

#: Raises BadRequest for a key that this node must not have.
CheckKey = Callable[[str], None]


def _take_any(_: str) -> None:
    pass


class Subjects:
    """The use cases. `own` are the namespaces that the node cannot be without."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        own: Sequence[str],
        check_key: CheckKey = _take_any,
    ) -> None:
        self._subjects = store.subjects
        self._overrides = store.overrides
        self._limits = limits
        self._own = frozenset(own)
        self._check_key = check_key
        #: What is free when it is looked at must be so when it is taken.
        self._changing = asyncio.Lock()
        for namespace, limited in store.overrides.limits.items():
            limits.set_own(namespace, limited)

    def all(self) -> list[Subject]:
        """Without their keys."""
        return [self._shown(name, keys=False) for name in self._subjects.subjects]

    def get(self, name: str) -> Subject:
        """Raises NotFound."""
        return self._shown(name, keys=True)

    def _shown(self, name: str, *, keys: bool) -> Subject:
        identities = self._subjects.of_subject(name)
        if not identities:
            raise NotFound(name)
        return Subject(
            subject=name,
            namespaces=[
                SubjectNamespace(
                    name=one.namespace, uuid=one.uuid, key=one.key if keys else ""
                )
                for one in identities
            ],
            blocked=name in self._subjects.blocked,
        )

    async def create(
        self, name: str, namespaces: Sequence[str] = (), *, auth: str | None = None
    ) -> Subject:
        """Make a subject, or give one more namespaces; each has a key of its own.

        Raises:
            BadRequest: a name or the key cannot be. Conflict: a namespace or the key
                is somebody's already.
        """
        if len(name) < SUBJECT_LEAST:
            raise BadRequest(f"A subject has at least {SUBJECT_LEAST} characters.")
        async with self._changing:
            made = [
                self._identity(check_name(name), namespace, auth)
                for namespace in dict.fromkeys(namespaces or [name])
            ]
            if auth is not None and len(made) > 1:
                raise BadRequest("A key opens one namespace: name one with the key.")
            for identity in made:
                await self._subjects.put(identity)
        return self.get(name)

    async def delete(self, name: str, namespace: str | None = None) -> Subject:
        """Take a subject away, or one of its namespaces from it; it is returned."""
        before = self.get(name)
        identities = [
            identity
            for identity in self._subjects.of_subject(name)
            if namespace in (None, identity.namespace)
        ]
        if not identities:
            raise NotFound(f"{name}/{namespace}")
        for identity in identities:
            self._check_not_own(identity.namespace)
        for identity in identities:
            await self._subjects.remove(identity)
        if not self._subjects.of_subject(name):
            await self._subjects.block(name, blocked=False)
        return before

    async def block(self, name: str, *, blocked: bool) -> Subject:
        """Refuse the subject's keys, or take them again; what it accepted counts."""
        for namespace in self.get(name).namespaces:
            self._check_not_own(namespace.name)
        await self._subjects.block(name, blocked=blocked)
        return self.get(name)

    def limits(self, namespace: str) -> NamespaceLimits:
        """What a namespace has of its own; the others of its limits are the node's."""
        self._check_known(namespace)
        return self._limits.own(namespace)

    async def set_limits(self, namespace: str, limits: NamespaceLimits | None) -> None:
        """Give a namespace limits of its own, in place of former ones."""
        self._check_known(namespace)
        await self._overrides.set_limits(namespace, limits)
        self._limits.set_own(namespace, limits)

    async def change_limits(
        self, namespace: str, changes: Mapping[str, Any]
    ) -> NamespaceLimits:
        """Change some of a namespace's own limits, by the names of A49; None: not own.

        Raises:
            BadRequest: a name or a value cannot be.
        """
        standing = msgspec.to_builtins(self.limits(namespace))
        try:
            limits = msgspec.convert({**standing, **changes}, NamespaceLimits)
        except msgspec.ValidationError as error:
            raise BadRequest(str(error)) from error
        await self.set_limits(namespace, limits)
        return limits

    def _identity(self, name: str, namespace: str, auth: str | None) -> Identity:
        taken = self._subjects.owner_of(check_namespace(namespace))
        if taken is not None:
            raise Conflict(
                f"The namespace '{namespace}' is {_whose(taken.subject, name)} already."
            )
        if auth is None:
            return new_identity(name, namespace)
        found = _KEY.fullmatch(auth)
        if found is None:
            raise BadRequest(
                f"A key is a UUID, a colon and {KEY_LENGTH} ASCII characters."
            )
        if self._subjects.has_uuid(found["uuid"]):
            raise Conflict("The UUID of this key is in use already.")
        self._check_key(auth)
        return Identity(
            subject=name, namespace=namespace, uuid=found["uuid"], key=found["key"]
        )

    def _check_known(self, namespace: str) -> None:
        if self._subjects.owner_of(namespace) is None:
            raise NotFound(namespace)

    def _check_not_own(self, namespace: str) -> None:
        if namespace in self._own:
            raise Conflict(f"The namespace '{namespace}' is the node's own.")


def _whose(owner: str, name: str) -> str:
    return "the subject's" if owner == name else f"that of '{owner}'"
