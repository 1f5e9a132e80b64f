"""Bounds and standard values of what users may ask for (d.3 of the contract)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec.structs import replace

MEBIBYTE = 1 << 20


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One limit: least, standard and greatest value (D13-D16)."""

    least: int
    standard: int
    greatest: int

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.standard <= self.greatest:
            raise ValueError("expected 0 <= least <= standard <= greatest")

    def __contains__(self, value: int) -> bool:
        return self.least <= value <= self.greatest

    def narrowed(self, least: int | None, greatest: int | None) -> Bounds:
        """Within these: what is asked for beyond them is cut off (D27)."""
        top = self.greatest if greatest is None else min(greatest, self.greatest)
        low = self.least if least is None else max(least, self.least)
        low = min(low, top)
        return Bounds(
            least=low, standard=min(max(self.standard, low), top), greatest=top
        )


Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class SystemLimits(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What the node allows; defaults are upstream's (D13-D22)."""

    timeout_ms: Bounds = Bounds(least=100, standard=60_000, greatest=300_000)
    memory_mb: Bounds = Bounds(least=128, standard=256, greatest=512)
    logs_mb: Bounds = Bounds(least=0, standard=10, greatest=10)
    concurrency: Bounds = Bounds(least=1, standard=1, greatest=1)
    payload_bytes: Positive = MEBIBYTE
    code_bytes: Positive = 48 * MEBIBYTE
    sequence_length: Positive = 50
    list_standard: Positive = 30
    list_greatest: Positive = 200
    blocking_wait_ms: Positive = 60_000
    #: A lean node has one tenant: these do not throttle it (upstream: 60, 60, 30).
    invocations_per_minute: Natural = 100_000_000
    fires_per_minute: Natural = 100_000_000
    concurrent_invocations: Natural = 1_000_000


class NamespaceLimits(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """What one namespace may, where that is not what all may (A49, D27).

    Memory and logs in MB, times in ms; `allowed_kinds` None is all of them.
    """

    invocations_per_minute: Natural | None = None
    fires_per_minute: Natural | None = None
    concurrent_invocations: Natural | None = None
    allowed_kinds: tuple[str, ...] | None = None
    min_action_memory: Natural | None = None
    max_action_memory: Natural | None = None
    min_action_timeout: Natural | None = None
    max_action_timeout: Natural | None = None
    min_action_logs: Natural | None = None
    max_action_logs: Natural | None = None

    def laid_over(self, system: SystemLimits) -> SystemLimits:
        """The limits in force for the namespace."""
        return replace(
            system,
            timeout_ms=system.timeout_ms.narrowed(
                self.min_action_timeout, self.max_action_timeout
            ),
            memory_mb=system.memory_mb.narrowed(
                self.min_action_memory, self.max_action_memory
            ),
            logs_mb=system.logs_mb.narrowed(self.min_action_logs, self.max_action_logs),
            invocations_per_minute=_or(
                self.invocations_per_minute, system.invocations_per_minute
            ),
            fires_per_minute=_or(self.fires_per_minute, system.fires_per_minute),
            concurrent_invocations=_or(
                self.concurrent_invocations, system.concurrent_invocations
            ),
        )


def _or(own: int | None, system: int) -> int:
    return system if own is None else own
