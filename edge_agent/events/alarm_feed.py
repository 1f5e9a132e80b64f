"""The package `/whisk.system/alarms`: the feeds `alarm`, `interval` and `once`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_agent.events.alarm_config import (
    ALARM,
    FIRST_INTERVAL_MS,
    INTERVAL,
    ONCE,
    AlarmFeed,
    check_dates,
    parse_alarm,
    payload_of,
    read_zones,
)
from edge_agent.events.alarms import PACKAGE, AlarmSource
from edge_agent.events.base import BuiltinError, SourceState, Subscription
from edge_agent.events.lifecycle import Config, Feeds, Lifecycle
from edge_agent.events.schedule import CatchUp
from edge_agent.model.names import FullName

_PAYLOAD = {"name": "trigger_payload", "description": "What the trigger is fired with"}
_CATCH_UP = {
    "name": "catch_up",
    "description": "Of ticks missed: none, last (the default) or all",
}
_BOUNDS = (
    {"name": "startDate", "description": "Epoch ms or ISO 8601"},
    {"name": "stopDate", "description": "Epoch ms or ISO 8601; no tick from then on"},
    {"name": "maxTriggers", "description": "Deprecated: say stopDate"},
)
_CRON = (
    {"name": "cron", "required": True, "description": "5 fields, or 6: seconds first"},
    {"name": "timezone", "description": "As Europe/Berlin; UTC by default"},
    {"name": "strict", "description": "false delays by up to a minute, by its name"},
)
_MINUTES = ({"name": "minutes", "required": True, "description": "A whole number"},)
_DATE = (
    {"name": "date", "required": True, "description": "Epoch ms or ISO 8601"},
    {"name": "deleteAfterFire", "description": "false, true or rules"},
)

#: What GET shows of each (B14, B18).
ANNOTATIONS: Mapping[str, Mapping[str, Any]] = {
    ALARM.name: {
        "feed": True,
        "description": "Fire a trigger by a cron expression",
        "parameters": [*_CRON, *_BOUNDS, _PAYLOAD, _CATCH_UP],
        "sampleInput": {"cron": "0 6 * * MON-FRI", "timezone": "Europe/Berlin"},
    },
    INTERVAL.name: {
        "feed": True,
        "description": "Fire a trigger every so many minutes",
        "parameters": [*_MINUTES, *_BOUNDS, _PAYLOAD, _CATCH_UP],
        "sampleInput": {"minutes": 5},
    },
    ONCE.name: {
        "feed": True,
        "description": "Fire a trigger once",
        "parameters": [*_DATE, _PAYLOAD, _CATCH_UP],
        "sampleInput": {"date": "2027-01-01T00:00:00Z", "deleteAfterFire": "rules"},
    },
}


class AlarmsFeed:
    """One of the three, as a `Feed`."""

    noun = "alarm"

    def __init__(self, kind: AlarmFeed, source: AlarmSource) -> None:
        self.feed = f"{PACKAGE}/{kind.name}"
        self._kind = kind
        self._source = source

    async def accept(
        self, trigger: str, config: Config, before: Subscription | None
    ) -> Config:
        await read_zones([config])
        now_ms = self._source.now_ms()
        kept = dict(config)
        if self._kind is INTERVAL and kept.get("startDate") is None:
            kept["startDate"] = now_ms + FIRST_INTERVAL_MS
        alarm = parse_alarm(self._kind, trigger, kept)
        check_dates(kept, {} if before is None else before.config, now_ms)
        if kept.get("stopDate") is not None and alarm.schedule.after(now_ms) is None:
            raise BuiltinError(
                "the first scheduled trigger fire is not until after the stop date"
            )
        return kept

    async def start(self, subscription: Subscription) -> None:
        self._source.subscribe(subscription)

    def stop(self, subscription: Subscription, *, deleted: bool) -> None:
        self._source.unsubscribe(subscription.id, deleted=deleted)

    def status(self, subscription: Subscription) -> dict[str, Any]:
        return self._source.status(subscription.id)

    def shown(self, subscription: Subscription) -> Config:
        config = {"catch_up": str(CatchUp.LAST), **subscription.config}
        config.pop("trigger_payload", None)
        return {"payload": payload_of(subscription.config), **config}


class AlarmsPackage:
    """The three feeds as actions."""

    def __init__(
        self, source: AlarmSource, state: SourceState, *, feeds: Feeds | None = None
    ) -> None:
        self.feeds = {
            FullName("whisk.system", kind.name, "alarms"): Lifecycle(
                AlarmsFeed(kind, source), state, wall_ms=source.now_ms, feeds=feeds
            )
            for kind in (ALARM, INTERVAL, ONCE)
        }
