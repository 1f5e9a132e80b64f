"""When a cron expression is due, as epoch ms in one time zone. Pure.

Theory. `cronsim` reads the expression (five fields, or six with seconds first) and
steps through the ticks. What a change to or from summer time does is Debian cron's
rule, for five fields and for six:

- An expression with a fixed hour and minute means "once a day at that time": a time
  that the clocks skip is due when they have jumped, a time that comes twice is due the
  first time only. Its ticks are made on the local clock and then placed in time.
- An expression whose hour or minute begins with `*` means "every so often": it is not
  due in the hour that is skipped, and it goes on in the hour that comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MS = 1000
SECONDS_FIELDS = 6
_MINUTE = timedelta(minutes=1)
_WINDOW_MS = 60 * MS
_PAST_MS = 50 * 366 * 86_400 * MS  # as far as `cronsim` looks into the future
#: No clock is set back by more.
_FOLD_MOST = timedelta(hours=2)


class Cron:
    """One expression.

    Raises:
        ValueError: it is not one.
    """

    __slots__ = ("_local", "_zone", "expression")

    def __init__(self, expression: str, zone: ZoneInfo | None = None) -> None:
        fields = expression.split()
        try:
            CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(str(error)) from error
        minute, hour = fields[-5], fields[-4]
        self.expression = expression
        self._zone = zone if zone is not None else UTC
        self._local = not minute.startswith("*") and not hour.startswith("*")

    def after(self, ms: int) -> int | None:
        """The first tick later than `ms`; None when there is none in fifty years."""
        moment = self._moment(ms)
        if not self._local:
            tick = next(CronSim(self.expression, moment), None)
            return None if tick is None else _ms(tick)
        for naive in CronSim(self.expression, moment.replace(tzinfo=None, fold=0)):
            tick = self._placed(naive)
            if tick > moment:
                return _ms(tick)
        return None

    def back_from(self, ms: int) -> Iterator[int]:
        """The ticks at `ms` and before, newest first."""
        moment = self._moment(ms)
        if not self._local:
            yield from self._back_by_windows(ms // MS * MS)
            return
        naive_end = moment.replace(tzinfo=None, fold=0) + _FOLD_MOST
        newest: datetime | None = None
        for naive in CronSim(self.expression, naive_end, reverse=True):
            tick = self._placed(naive)
            if tick <= moment and tick != newest:
                newest = tick
                yield _ms(tick)

    def _back_by_windows(self, end: int) -> Iterator[int]:
        """What going on finds in each window before `end`, which doubles while empty.

        `cronsim` goes back by itself, but forgets ticks where a zone changes its clocks
        by half an hour.
        """
        span, oldest = _WINDOW_MS, end - _PAST_MS
        while end > oldest:
            begin = max(end - span, oldest)
            ticks = list(takewhile(end.__ge__, self._from(begin)))
            yield from reversed(ticks)
            end, span = begin, span if ticks else span * 2

    def _from(self, ms: int) -> Iterator[int]:
        for tick in CronSim(self.expression, self._moment(ms)):
            yield _ms(tick)

    def _moment(self, ms: int) -> datetime:
        return datetime.fromtimestamp(ms // MS, self._zone)

    def _placed(self, naive: datetime) -> datetime:
        """The instant of a local time; the end of the gap for one that is skipped."""
        placed = _instant(naive, self._zone)
        while placed.astimezone(self._zone).replace(tzinfo=None) != naive:
            naive = naive.replace(second=0) + _MINUTE
            placed = _instant(naive, self._zone)
        return placed


def _instant(naive: datetime, zone: ZoneInfo | object) -> datetime:
    return naive.replace(tzinfo=zone, fold=0).astimezone(UTC)  # type: ignore[arg-type]


def _ms(tick: datetime) -> int:
    return round(tick.timestamp()) * MS


def zone_of(name: str) -> ZoneInfo:
    """The time zone; its file is read the first time it is asked for.

    Raises:
        ValueError: there is none of that name.
    """
    zone = _zone_of(name)
    if zone is None:
        raise ValueError(f"no time zone {name!r}")
    return zone


@lru_cache(maxsize=1024)  # there are 600
def _zone_of(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return None
