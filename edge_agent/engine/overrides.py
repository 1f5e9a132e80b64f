"""Settings that may be changed while the node runs: the file's, overridden.

The tree of settings itself stays frozen: a change makes a new one, checked as the file
is, and everybody who has to do with it is told. Overrides win over the file until they
are taken back; those that a changed file no longer bears are left out, and told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from edge_agent.model.errors import BadRequest, SettingsError
from edge_agent.settings import Settings, parse_settings
from edge_agent.store.overrides import OverrideStore

_TERABYTE_MB = 1 << 20
_DAY_MS = 86_400_000
_COUNT = 1_000_000_000
#: What may be overridden, and the most that makes sense.
KEYS = {
    "pool.memory_mb": _TERABYTE_MB,
    "limits.timeout_ms.least": _DAY_MS,
    "limits.timeout_ms.standard": _DAY_MS,
    "limits.timeout_ms.greatest": _DAY_MS,
    "limits.memory_mb.least": _TERABYTE_MB,
    "limits.memory_mb.standard": _TERABYTE_MB,
    "limits.memory_mb.greatest": _TERABYTE_MB,
    "limits.logs_mb.standard": 1024,
    "limits.logs_mb.greatest": 1024,
    "limits.code_bytes": 1 << 30,
    "limits.payload_bytes": 1 << 30,
    "limits.sequence_length": 1000,
    "limits.blocking_wait_ms": _DAY_MS,
    "limits.invocations_per_minute": _COUNT,
    "limits.fires_per_minute": _COUNT,
    "limits.concurrent_invocations": _COUNT,
}
_SOURCE = "override"
#: No use in more of it: the bodies that bring it are not read (A7).
_BODIES = ("limits.code_bytes", "limits.payload_bytes")

log = logging.getLogger(__name__)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A setting: what counts, where it comes from, and what counts without override."""

    value: Any
    origin: str
    otherwise: Any | UnsetType = UNSET


class Overrides:
    """Owns the settings in force; `on_change` is called with new ones."""

    def __init__(self, settings: Settings, store: OverrideStore) -> None:
        self.on_change: Callable[[Settings], None] = lambda _: None
        self._file = settings
        self._store = store
        self._changing = asyncio.Lock()
        self._set = self._bearable()
        self.in_force = self._laid_over(self._set)

    def shown(self) -> dict[str, Shown]:
        standard = Settings()
        return {key: self._shown(key, standard) for key in KEYS}

    async def change(self, changes: Mapping[str, Any], *, replace: bool) -> None:
        """Override settings by dotted keys; null takes an override back.

        With `replace` those not named are taken back as well. It counts, and is on
        disk, on return.

        Raises:
            BadRequest: a key or a value is wrong; nothing has changed.
        """
        async with self._changing:
            former = {} if replace else self._set
            wanted = {k: v for k, v in {**former, **changes}.items() if v is not None}
            _check_keys({**wanted, **changes})
            settings = self._laid_over(wanted)
            await self._store.set_settings(wanted)
            self._set = wanted
            self.in_force = settings
            self.on_change(settings)

    def _bearable(self) -> Mapping[str, Any]:
        """Those overrides of an earlier life that fit what the file now says."""
        kept: dict[str, Any] = {}
        for key, value in self._store.settings.items():
            try:
                _check_keys({key: value})  # a release before may have known more
                self._laid_over({**kept, key: value})
            except BadRequest as error:
                log.warning("the override of %s is left out: %s", key, error)
            else:
                kept[key] = value
        return kept

    def _laid_over(self, overrides: Mapping[str, Any]) -> Settings:
        document: dict[str, Any] = msgspec.to_builtins(self._file)
        for key, value in overrides.items():
            *tables, last = key.split(".")
            table = document
            for name in tables:
                table = table[name]
            table[last] = value
        try:
            settings = parse_settings(document, source=_SOURCE)
        except SettingsError as error:
            raise BadRequest(str(error).removeprefix(f"{_SOURCE}: ")) from error
        bodies = settings.server.body_bytes
        for key, value in overrides.items():
            most = min(KEYS[key], bodies) if key in _BODIES else KEYS[key]
            if value > most:
                raise BadRequest(f"{key}: Expected at most {most}")
        return settings

    def _shown(self, key: str, standard: Settings) -> Shown:
        value, file = _at(self.in_force, key), _at(self._file, key)
        if key in self._set:
            return Shown(value=value, origin="override", otherwise=file)
        origin = "default" if file == _at(standard, key) else "file"
        return Shown(value=value, origin=origin)


def _check_keys(changes: Mapping[str, Any]) -> None:
    for key in changes:
        if key not in KEYS:
            raise BadRequest(
                f"{key}: is no setting that can be changed at run time; "
                f"there are {', '.join(KEYS)}"
            )


def _at(settings: Settings, key: str) -> Any:
    return attrgetter(key)(settings)
