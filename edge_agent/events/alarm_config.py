"""The parameters of `/whisk.system/alarms/{alarm,interval,once}` (H22). Pure.

    alarm      cron (5 fields, or 6 with seconds first), timezone, strict
    interval   minutes
    once       date, deleteAfterFire: false | true | rules
    all        trigger_payload; catch_up: none | last | all
    the first two   startDate, stopDate; maxTriggers (deprecated upstream)

Dates are epoch ms or ISO 8601 (UTC where no offset is given) and must be in the future
when they are set. `strict: false` delays a five-field alarm by 0 to 59 seconds that
depend on the trigger's name. Error texts are upstream's where it has one (H23).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from edge_agent.events.base import BuiltinError, ConfigError
from edge_agent.events.cron import SECONDS_FIELDS, Cron, zone_of
from edge_agent.events.schedule import (
    CatchUp,
    CronSchedule,
    Interval,
    Once,
    Schedule,
)

#: An interval begins this long after it is made, time enough to make its rule.
FIRST_INTERVAL_MS = 30_000
MINUTE_MS = 60_000
#: Python's calendar ends in 9999; nobody means that.
LATEST_MS = 32_503_680_000_000  # the year 3000
DELAYS = 60
DELETE_AFTER_FIRE = ("false", "true", "rules")

Config = Mapping[str, Any]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class AlarmConfig:
    """A checked alarm. `payload` is JSON text of an object; `most` counts fires."""

    schedule: Schedule
    payload: bytes
    catch_up: CatchUp
    most: int | None = None
    delete_after_fire: str = "false"


@dataclass(frozen=True, slots=True)
class AlarmFeed:
    """One of the three: its parameters, what it makes of them, what READ shows."""

    name: str
    keys: tuple[str, ...]
    schedule: Callable[[Config, str], Schedule]


def parse_alarm(feed: AlarmFeed, trigger: str, config: Config) -> AlarmConfig:
    """Read the parameters; dates may be past.

    Raises:
        BuiltinError: naming what is wrong.
    """
    known = (*feed.keys, "trigger_payload", "catch_up")
    for key in config:
        if key not in known:
            raise ConfigError(key, f"is not known here; known are {', '.join(known)}")
    return AlarmConfig(
        schedule=feed.schedule(config, trigger),
        payload=_encode(payload_of(config)),
        catch_up=_catch_up(config.get("catch_up", CatchUp.LAST)),
        most=_most(config.get("maxTriggers")),
        delete_after_fire=_delete_after_fire(config.get("deleteAfterFire")),
    )


async def read_zones(configs: Iterable[Config]) -> None:
    """Read the time zones' files away from the loop; parsing finds them in memory."""
    names = {config.get("timezone") for config in configs} - {None}
    for name in names:
        with suppress(ValueError):
            await asyncio.to_thread(zone_of, str(name))


def payload_of(config: Config) -> dict[str, Any]:
    """What a tick fires its trigger with; a trigger takes objects only."""
    given = config.get("trigger_payload") or {}
    return given if isinstance(given, dict) else {"payload": given}


def check_dates(config: Config, before: Config, now_ms: int) -> None:
    """What is set anew must be in the future, in order, and leave a tick to fire.

    Raises:
        BuiltinError: in upstream's words.
    """
    for key in ("date", "startDate", "stopDate"):
        if config.get(key) is None or config[key] == before.get(key):
            continue
        if _date(config, key) <= now_ms:
            text = f"{key} parameter '{config[key]}' must be in the future"
            raise BuiltinError(text)
    start, stop = config.get("startDate"), config.get("stopDate")
    if stop is None:
        return
    if config.get("maxTriggers") is not None:
        raise BuiltinError(
            "maxTriggers is not supported for the interval trigger feed"
            if "minutes" in config
            else "maxTriggers is not allowed when the stopDate parameter is specified"
        )
    if start is not None and _date(config, "stopDate") <= _date(config, "startDate"):
        raise BuiltinError(
            f"stopDate parameter '{stop}' must be greater than the startDate "
            f"parameter '{start}'"
        )


def _cron(config: Config, trigger: str) -> Schedule:
    expression = config.get("cron")
    if not expression:
        raise BuiltinError("alarms trigger feed is missing the cron parameter")
    try:
        cron = Cron(str(expression), _zone(config.get("timezone")))
    except ValueError as error:
        raise BuiltinError(f"cron pattern '{expression}' is not valid") from error
    has_seconds = len(str(expression).split()) == SECONDS_FIELDS
    strict = has_seconds or _flag("strict", config.get("strict", True))
    delay_s = 0 if strict else zlib.crc32(trigger.encode()) % DELAYS
    return CronSchedule(
        cron, delay_s * 1000, _maybe(config, "startDate"), _maybe(config, "stopDate")
    )


def _interval(config: Config, _: str) -> Schedule:
    given = config.get("minutes")
    if not given:
        raise BuiltinError("interval trigger feed is missing the minutes parameter")
    minutes = _integer(given)
    if minutes is None:
        raise BuiltinError("the minutes parameter must be an integer")
    if minutes <= 0:
        raise BuiltinError("the minutes parameter must be an integer greater than zero")
    start = _date(config, "startDate")
    return Interval(start, minutes * MINUTE_MS, _maybe(config, "stopDate"))


def _once(config: Config, _: str) -> Schedule:
    if not config.get("date"):
        raise BuiltinError("alarms once trigger feed is missing the date parameter")
    return Once(_date(config, "date"))


ALARM = AlarmFeed(
    "alarm",
    ("cron", "timezone", "strict", "startDate", "stopDate", "maxTriggers"),
    _cron,
)
INTERVAL = AlarmFeed(
    "interval", ("minutes", "startDate", "stopDate", "maxTriggers"), _interval
)
ONCE = AlarmFeed("once", ("date", "deleteAfterFire"), _once)


def _zone(name: Any) -> Any:
    if name is None:
        return None
    try:
        return zone_of(str(name))
    except ValueError as error:
        raise BuiltinError(f"timezone '{name}' is not valid") from error


def _date(config: Config, key: str) -> int:
    """Epoch ms.

    Raises:
        BuiltinError: it is no date.
    """
    given = config.get(key)
    problem = BuiltinError(f"{key} parameter '{given}' is not a valid Date")
    if isinstance(given, int | float) and not isinstance(given, bool):
        ms = int(given)
    else:
        try:
            moment = datetime.fromisoformat(str(given).strip())
        except ValueError as error:
            raise problem from error
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        ms = int(aware.timestamp() * 1000)
    if not 0 <= ms < LATEST_MS:
        raise problem
    return ms


def _maybe(config: Config, key: str) -> int | None:
    return None if config.get(key) is None else _date(config, key)


def _integer(value: Any) -> int | None:
    """A whole number, or the text of one, as `wsk -p` may send it."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    whole = not isinstance(value, bool) and number.is_integer()
    return int(number) if whole else None


def _most(given: Any) -> int | None:
    if given is None:
        return None
    most = _integer(given)
    if most is None:
        raise ConfigError("maxTriggers", f"expected a whole number, got {given!r}")
    return most if most > 0 else None


def _flag(key: str, given: Any) -> bool:
    match str(given).strip().lower():
        case "true":
            return True
        case "false":
            return False
    raise ConfigError(key, f"expected true or false, got {given!r}")


def _catch_up(given: Any) -> CatchUp:
    try:
        return CatchUp(given)
    except ValueError as error:
        problem = f"expected one of {', '.join(CatchUp)}; got {given!r}"
        raise ConfigError("catch_up", problem) from error


def _delete_after_fire(given: Any) -> str:
    if given is None:
        return "false"
    value = str(given).strip().lower()
    if value not in DELETE_AFTER_FIRE:
        raise BuiltinError(
            "deleteAfterFire parameter must be one of [false, true, rules]."
        )
    return value
