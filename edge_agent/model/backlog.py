"""Accepted events as `/edge/v1/events` shows them: what waits, and dead letters."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from edge_agent.model.delivery import RetryPolicy
from edge_agent.model.entities import Wire


class AttemptView(Wire, frozen=True, kw_only=True):
    """One run; `start` in epoch ms, `duration` in ms."""

    start: int
    status: str
    error: str = ""
    duration: int = 0


class EventItem(Wire, frozen=True, kw_only=True):
    """One event of a list.

    `state` is waiting, delayed (its next run is `due`), running or dead (`reason` says
    why, `died` when); times in epoch ms. `attempts` counts runs that have ended.
    """

    activation_id: str
    namespace: str
    action: str
    state: str
    accepted: int
    attempts: int = 0
    rule: str | UnsetType = UNSET
    due: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    died: int | UnsetType = UNSET
    error: str | UnsetType = UNSET


class EventPage(Wire, frozen=True, kw_only=True):
    """A page of a list, dead letters first; `after` is what to ask for the next one."""

    events: list[EventItem]
    after: str | UnsetType = UNSET


class EventView(Wire, frozen=True, kw_only=True):
    """One event with all that is known of it."""

    event: EventItem
    arguments: Any
    version: str
    transaction_id: str
    attempts: list[AttemptView] = []
    retry: RetryPolicy | UnsetType = UNSET
    line: str | UnsetType = UNSET
    ttl_ms: int | UnsetType = UNSET
    replay_of: str | UnsetType = UNSET
    result_topic: Any = UNSET


class Replayed(Wire, frozen=True, kw_only=True):
    """A dead letter that runs again, under the id of a new activation."""

    replay_of: str
    activation_id: str


class Swept(Wire, frozen=True, kw_only=True):
    """What became of many dead letters; `error` says why not of all of them."""

    replayed: list[Replayed] = []
    dropped: int = 0
    error: str | UnsetType = UNSET
