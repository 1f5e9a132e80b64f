"""Bounds and standard values of what users may ask for (d.3 of the contract)."""

from __future__ import annotations

from typing import Annotated

import msgspec

MEBIBYTE = 1 << 20


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One limit: least, standard and greatest value (D13-D16)."""

    least: int
    standard: int
    greatest: int

    def __contains__(self, value: int) -> bool:
        return self.least <= value <= self.greatest


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
    invocations_per_minute: Positive = 100_000_000
    fires_per_minute: Positive = 100_000_000
    concurrent_invocations: Positive = 1_000_000
