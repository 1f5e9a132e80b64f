"""Actions, packages, triggers and rules: in memory, written through.

A node has hundreds of entities, not millions, so all of them are held decoded; only the
code of actions stays on disk, with the most recently used of it in a bounded cache. The
OpenWhisk rule that all collections share one identifier space (A11) is the shape of the
memory: one dict by name.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from operator import attrgetter
from typing import TypeVar

import msgspec
from msgspec import UNSET

from edge_agent.model.entities import Action, AnyEntity, Package, Rule, Trigger
from edge_agent.model.names import FullName
from edge_agent.store.batch import Statement
from edge_agent.store.reader import Reader
from edge_agent.store.writer import Writer

CODE_CACHE_BYTES = 8 << 20

_Rules = list[Rule]
_Entities = list[AnyEntity]
_Place = tuple[type[AnyEntity], str]
_Statements = list[Statement]
E = TypeVar("E", Action, Package, Trigger, Rule)
_COLLECTIONS: dict[str, type[AnyEntity]] = {
    "actions": Action,
    "packages": Package,
    "triggers": Trigger,
    "rules": Rule,
}
_NAMES = {cls: name for name, cls in _COLLECTIONS.items()}
_updated = attrgetter("updated")
_encode = msgspec.json.Encoder().encode


class EntityStore:
    """Owns every entity. Reads are synchronous; writes are visible at once.

    The futures of `put` and `delete` are done when the change is on disk; a change that
    could not be written is taken back and the future raises Unavailable.
    """

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._entities: dict[FullName, AnyEntity] = {}
        self._rules: dict[FullName, dict[FullName, Rule]] = {}
        #: By collection and namespace; and each as it is listed, until it changes.
        self._places: dict[_Place, dict[FullName, AnyEntity]] = {}
        self._listed: dict[_Place, _Entities] = {}
        self._code: OrderedDict[tuple[str, str, int], str] = OrderedDict()
        self._code_bytes = 0

    def load(self, connection: sqlite3.Connection) -> None:
        """Read everything; called once, before the agent serves."""
        for collection, doc in connection.execute("SELECT collection, doc FROM entity"):
            entity = msgspec.json.decode(doc, type=_COLLECTIONS[collection])
            self._set(entity.full_name, entity)

    def find(self, name: FullName) -> AnyEntity | None:
        """The entity of that name, whatever its collection."""
        return self._entities.get(name)

    def get(self, cls: type[E], name: FullName) -> E | None:
        entity = self._entities.get(name)
        return entity if isinstance(entity, cls) else None

    def list(
        self, cls: type[E], namespace: str, *, package: str | None = None
    ) -> list[E]:
        """Newest first. Actions include those of packages unless one is named."""
        place = (cls, namespace)
        entities = self._places.get(place, {})
        if package is not None:
            inside = [one for name, one in entities.items() if name.package == package]
            return sorted(inside, key=_updated, reverse=True)  # type: ignore[arg-type]
        listed = self._listed.get(place)
        if listed is None:
            listed = sorted(entities.values(), key=_updated, reverse=True)
            self._listed[place] = listed
        return listed.copy()  # type: ignore[return-value]

    def rules_of(self, trigger: FullName) -> _Rules:
        return list(self._rules.get(trigger, {}).values())

    async def code(self, action: Action) -> str:
        """The action's code; empty when it has none (or has been deleted)."""
        if action.exec.code is not UNSET:
            return action.exec.code
        key = (action.namespace, action.name, action.updated)
        if key not in self._code:
            rows = await self._reader.rows(
                "SELECT code FROM code WHERE key=?", (str(action.full_name),)
            )
            self._remember(key, str(rows[0][0]) if rows else "")
        self._code.move_to_end(key)
        return self._code[key]

    def put(
        self, entity: AnyEntity, *, code: str | None = None
    ) -> asyncio.Future[None]:
        """Store `entity`; `code` replaces the action's code, None keeps it."""
        name = entity.full_name
        before = self._entities.get(name)
        self._set(name, entity)
        statements: _Statements = [
            (
                "INSERT OR REPLACE INTO entity VALUES (?,?,?)",
                (str(name), _NAMES[type(entity)], _encode(entity)),
            )
        ]
        if isinstance(entity, Action):
            self._forget_code(entity)
            if code is not None:
                self._remember((entity.namespace, entity.name, entity.updated), code)
                statements.append(
                    ("INSERT OR REPLACE INTO code VALUES (?,?)", (str(name), code))
                )
        return self._write(name, before, statements)

    def delete(self, entity: AnyEntity) -> asyncio.Future[None]:
        name = entity.full_name
        before = self._entities.get(name)
        self._unset(name)
        return self._write(
            name,
            before,
            [
                ("DELETE FROM entity WHERE key=?", (str(name),)),
                ("DELETE FROM code WHERE key=?", (str(name),)),
            ],
        )

    def _write(
        self, name: FullName, before: AnyEntity | None, statements: _Statements
    ) -> asyncio.Future[None]:
        now = self._entities.get(name)
        future = self._writer.execute(*statements)

        def settle(done: asyncio.Future[None]) -> None:
            if done.cancelled() or done.exception() is None:
                return
            if self._entities.get(name) is now:
                self._unset(name)
                if before is not None:
                    self._set(name, before)

        future.add_done_callback(settle)
        return future

    def _set(self, name: FullName, entity: AnyEntity) -> None:
        self._unset(name)
        self._entities[name] = entity
        place = (type(entity), name.namespace)
        self._places.setdefault(place, {})[name] = entity
        self._listed.pop(place, None)
        if isinstance(entity, Rule):
            self._rules.setdefault(entity.trigger.full_name, {})[name] = entity

    def _unset(self, name: FullName) -> None:
        entity = self._entities.pop(name, None)
        if entity is None:
            return
        place = (type(entity), name.namespace)
        del self._places[place][name]
        self._listed.pop(place, None)
        if isinstance(entity, Rule):
            trigger = entity.trigger.full_name
            self._rules[trigger].pop(name, None)
            if not self._rules[trigger]:
                del self._rules[trigger]

    def _remember(self, key: tuple[str, str, int], code: str) -> None:
        self._code[key] = code
        self._code_bytes += len(code)
        while self._code_bytes > CODE_CACHE_BYTES and len(self._code) > 1:
            _, dropped = self._code.popitem(last=False)
            self._code_bytes -= len(dropped)

    def _forget_code(self, action: Action) -> None:
        for key in [k for k in self._code if k[:2] == (action.namespace, action.name)]:
            self._code_bytes -= len(self._code.pop(key))
