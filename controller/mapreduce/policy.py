"""Which node gets which chunk, and when: pure, time comes in as a number.

A node with room asks (`take`) and is told what to do: run this chunk, or wait. What
became of it is told back (`completed`, `refused`, `lost`, `failed`). Nothing here
awaits or looks at a clock, so a run can be simulated.

- *Chunk.* A piece of the run: one unit, or where the job allows it as many as the speed
  of the node and the rest of the run suggest (`pace`). Once cut, it stays as it is.
- *Window.* A node holds as many chunks as it is worth giving at once (`width`), and a
  few more, so that none of its slots waits for us: as many as it finishes in `AHEAD_S`.
  At the end of the run, when a chunk queued at a busy node could run elsewhere, there
  are none ahead. A node that refuses (429, 503) gets a pause and a smaller window,
  which grows by one for each window of chunks it completes.
- *End.* A slow node leaves the last chunks to faster ones that will be done sooner.
- *Retry.* A refused or lost chunk goes first, to a node where it has not failed as long
  as there is one. Lost `LOSSES` times, it ends the run; refusals cost it nothing.
- *Backup.* When nothing is left to hand out, a chunk that has been under way for long
  (three times the median) is given to a second node; whichever answers first counts.
- *Once.* A chunk counts once, whatever is repeated and however late an answer comes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median

from controller.mapreduce.pace import Pace, Paces, horizon
from controller.mapreduce.pieces import Piece, Pieces
from controller.mapreduce.width import Width

#: The time we may need to hand a node its next chunk.
AHEAD_S = 0.05
#: Chunks that take longer are not queued ahead: a round trip is nothing to them.
LONG_S = 1.0
#: The greatest window, in slots.
WINDOW_SLOTS = 4
#: A chunk that is lost so often brings its nodes down, or cannot be had.
LOSSES = 5
PAUSE_FIRST_S, PAUSE_MOST_S = 0.1, 5.0
#: How long `take` says to wait when only time can change its answer.
LOOK_AGAIN_S = 0.25
#: Backups: at least so many chunks in the run, half of them done, so much slower.
BACKUP_CHUNKS, BACKUP_SHARE, BACKUP_TIMES = 10, 0.5, 3.0
#: Less than this is not worth a second run: a cold start takes as long.
BACKUP_LEAST_S = 1.0
#: The median is that of the latest so many chunks.
REMEMBERED = 101
#: How old the knowledge of the end of the run may be.
HORIZON_S = 0.1


@dataclass(frozen=True, slots=True)
class Assignment:
    """Run `count` units from `chunk` on, on `node`. `number` tells attempts apart."""

    number: int
    chunk: int
    count: int
    node: str
    backup: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after `seconds`, or when something has happened."""

    seconds: float


@dataclass(slots=True)
class Place:
    """What the policy knows of a node that takes part."""

    pace: Pace
    width: Width
    attempts: dict[int, Assignment] = field(default_factory=dict)
    #: Seconds a chunk takes here, smoothed; None until one has ended.
    chunk_s: float | None = None
    #: The window that refusals have left; grows back with every chunk.
    ceiling: float = math.inf
    refusals: int = 0
    paused_until: float = 0.0
    #: How long it leaves the last chunks to others.
    left_until: float | None = None


class Schedule:
    """The chunks of one run and the nodes that work on them.

    `grouped`: a chunk may have several units; `fits(first, count)` says how many of
    `count` units go in one invocation.
    """

    def __init__(
        self,
        units: int,
        *,
        done: Iterable[Piece] = (),
        grouped: bool = False,
        fits: Callable[[int, int], int] = lambda _first, count: count,
    ) -> None:
        """`done`: chunks whose results are already there (a resumed run)."""
        done = list(done)
        self.units = units
        self._pieces = Pieces(units, done=done)
        self._done = bytearray(units)
        self.completed_units = 0
        for first, count in done:
            self._done[first] = 1
            self.completed_units += count
        self._grouped, self._fits = grouped, fits
        self._again: dict[int, int] = {}
        self._failed_on: dict[int, set[str]] = {}
        self._losses: dict[int, int] = {}
        self._errors: dict[int, int] = {}
        self._places: dict[str, Place] = {}
        self._paces = Paces()
        #: When it was looked for, and how far off the end was.
        self._horizon: tuple[float, float] = (-math.inf, 0.0)
        #: Chunks under way: their attempts, and since when, oldest first.
        self._under_way: dict[int, dict[int, Assignment]] = {}
        self._since: dict[int, float] = {}
        #: Seconds from handing out to counting, for each unit.
        self._durations: deque[float] = deque(maxlen=REMEMBERED)
        self._backed: set[int] = set()
        self._stragglers_at = -math.inf
        self._numbers = 0
        self.retries = 0
        self.backups = 0

    @property
    def finished(self) -> bool:
        return self.completed_units == self.units

    @property
    def in_flight(self) -> int:
        return sum(len(place.attempts) for place in self._places.values())

    @property
    def nodes(self) -> int:
        return len(self._places)

    def in_flight_on(self, node: str) -> int:
        place = self._places.get(node)
        return len(place.attempts) if place else 0

    @property
    def refused_everywhere(self) -> bool:
        """Whether every node's last word was a refusal."""
        places = self._places.values()
        return bool(places) and all(place.refusals for place in places)

    def extend(self, count: int) -> None:
        """So many units more to do."""
        self.units += count
        self._done.extend(bytes(count))
        self._pieces.extend(count)

    # --- nodes come and go ------------------------------------------------------

    def join(self, node: str, *, slots: int, cores: int | None = None) -> None:
        self.leave(node)
        width = Width(max(1, slots), cores)
        place = Place(Pace(width.now), width)
        self._places[node] = place
        self._paces.add(place.pace)

    def leave(self, node: str) -> list[Assignment]:
        """The node is gone and so is what it did: what has now been lost too often."""
        place = self._places.pop(node, None)
        if place is None:
            return []
        self._paces.add(place.pace, -1)
        self._horizon = (-math.inf, 0.0)
        attempts = list(place.attempts.values())
        return [attempt for attempt in attempts if not self.lost(attempt)]

    # --- what to do -------------------------------------------------------------

    def take(self, node: str, *, now: float) -> Assignment | Wait:
        place = self._places[node]
        if place.paused_until > now:
            return Wait(place.paused_until - now)
        if len(place.attempts) >= self.window(node):
            return Wait(LOOK_AGAIN_S)
        if self._sooner_elsewhere(place, now):
            return Wait(HORIZON_S)
        piece, backup = self._retry(node) or self._fresh(place), False
        if piece is None:
            piece, backup = self._straggler(node, now), True
        if piece is None:
            return Wait(LOOK_AGAIN_S)
        return self._assign(piece, node, place, now, backup=backup)

    def window(self, node: str) -> int:
        """How many chunks the node may hold now."""
        place = self._places[node]
        wanted = place.pace.slots + self._ahead(place)
        return max(1, int(min(wanted, place.ceiling)))

    @property
    def _left(self) -> int:
        return self._pieces.left + len(self._again)

    def _ahead(self, place: Place) -> int:
        if self._left <= self._paces.slots:
            return 0
        if place.chunk_s is None:
            return 1
        if place.chunk_s > LONG_S:
            return 0
        most = (WINDOW_SLOTS - 1) * place.pace.slots
        finished = AHEAD_S * place.pace.slots / max(place.chunk_s, 1e-6)
        return max(1, min(most, math.ceil(finished)))

    def _sooner_elsewhere(self, place: Place, now: float) -> bool:
        """Whether the others will have done what is left before this node has one.

        They are trusted for twice as long as that should take: some may be dead without
        our knowing.
        """
        left, own_s = self._left, place.chunk_s
        if self._grouped or own_s is None or own_s * self._paces.total <= left:
            return False
        at, end_s = self._horizon
        if now - at > HORIZON_S:
            known = ((p.chunk_s, p.pace.slots) for p in self._places.values())
            end_s = horizon(left, [(s, n) for s, n in known if s is not None])
            self._horizon = (now, end_s)
        if not left or own_s <= end_s + HORIZON_S:
            place.left_until = None
            return False
        if place.left_until is None:
            place.left_until = now + 2 * end_s
        return now < place.left_until

    def _retry(self, node: str) -> Piece | None:
        for chunk, count in self._again.items():
            failed_on = self._failed_on.get(chunk)
            if not failed_on or node not in failed_on or self._nowhere_else(failed_on):
                del self._again[chunk]
                return chunk, count
        return None

    def _nowhere_else(self, failed_on: set[str]) -> bool:
        return all(node in failed_on for node in self._places)

    def _fresh(self, place: Place) -> Piece | None:
        first = self._pieces.next
        if first is None:
            return None
        if not self._grouped:
            return self._pieces.cut(1)
        size = self._paces.size(place.pace, self._pieces.left)
        return self._pieces.cut(max(1, self._fits(first, size)))

    def _straggler(self, node: str, now: float) -> Piece | None:
        """The chunk longest under way, if that is too long and it is elsewhere."""
        if now < self._stragglers_at or not self._durations:
            return None
        half_done = self.completed_units >= self.units * BACKUP_SHARE
        if self._numbers < BACKUP_CHUNKS or not half_done:
            return None
        unit_s = BACKUP_TIMES * median(self._durations)
        mine = {attempt.chunk for attempt in self._places[node].attempts.values()}
        look_at = now + LOOK_AGAIN_S
        for chunk, since in self._since.items():
            count = next(iter(self._under_way[chunk].values())).count
            due = since + max(BACKUP_LEAST_S, unit_s * count)
            if due >= now:
                look_at = min(look_at, due)
                if now - since <= BACKUP_LEAST_S:
                    break  # those after it are younger
            elif chunk not in self._backed:
                look_at = now  # if not this node, then another
                if chunk not in mine:
                    self._backed.add(chunk)
                    self.backups += 1
                    return chunk, count
        self._stragglers_at = look_at
        return None

    def _assign(
        self, piece: Piece, node: str, place: Place, now: float, *, backup: bool
    ) -> Assignment:
        chunk, count = piece
        self._numbers += 1
        attempt = Assignment(self._numbers, chunk, count, node, backup)
        place.attempts[attempt.number] = attempt
        self._under_way.setdefault(chunk, {})[attempt.number] = attempt
        self._since.setdefault(chunk, now)
        return attempt

    # --- what became of it ------------------------------------------------------

    def completed(self, attempt: Assignment, *, seconds: float, now: float) -> bool:
        """True when this answer counts, False when another one did already.

        `seconds` is what the chunk took on its node.
        """
        first = self._count(attempt)
        if first:
            since = self._since.pop(attempt.chunk, None)
            if since is not None:
                self._durations.append((now - since) / attempt.count)
        self._forget(attempt)
        place = self._places.get(attempt.node)
        if place is not None:
            old_s = seconds if place.chunk_s is None else place.chunk_s
            place.chunk_s = 0.8 * old_s + 0.2 * seconds
            self._learn(place, attempt.count, seconds)
            place.ceiling += 1 / place.ceiling
            place.refusals = 0
        return first

    def _learn(self, place: Place, count: int, seconds: float) -> None:
        self._paces.learn(place.pace, count, seconds)
        if place.width.learn(count, seconds):
            self._paces.add(place.pace, -1)
            place.pace.slots = place.width.now
            self._paces.add(place.pace)

    def dropped(self, attempt: Assignment) -> None:
        """Nobody wants the chunk any more: it counts as done."""
        self._count(attempt)
        self._forget(attempt)

    def refused(
        self, attempt: Assignment, *, now: float, asked_s: float | None = None
    ) -> None:
        """429 or 503: nothing was accepted. `asked_s` is the host's own wish."""
        self._forget(attempt)
        place = self._places.get(attempt.node)
        if place is not None:
            pause_s = min(PAUSE_FIRST_S * 2**place.refusals, PAUSE_MOST_S)
            place.paused_until = now + (pause_s if asked_s is None else asked_s)
            place.refusals += 1
            place.ceiling = float(max(1, len(place.attempts)))
        self._repeat(attempt)

    def lost(self, attempt: Assignment) -> bool:
        """No answer will come. False when the chunk has been lost too often."""
        return self._failed(attempt, self._losses, LOSSES)

    def failed(self, attempt: Assignment, *, retries: int) -> bool:
        """The action itself failed. False when it is not to be tried again."""
        return self._failed(attempt, self._errors, retries + 1)

    def _failed(self, attempt: Assignment, counts: dict[int, int], most: int) -> bool:
        self._forget(attempt)
        self._failed_on.setdefault(attempt.chunk, set()).add(attempt.node)
        count = counts.get(attempt.chunk, 0) + 1
        counts[attempt.chunk] = count
        self._repeat(attempt)
        return count < most or bool(self._done[attempt.chunk])

    def _count(self, attempt: Assignment) -> bool:
        if self._done[attempt.chunk]:
            return False
        self._done[attempt.chunk] = 1
        self.completed_units += attempt.count
        for told in (self._failed_on, self._losses, self._errors):
            told.pop(attempt.chunk, None)
        self._again.pop(attempt.chunk, None)
        return True

    def _forget(self, attempt: Assignment) -> None:
        place = self._places.get(attempt.node)
        if place is not None:
            place.attempts.pop(attempt.number, None)
        under_way = self._under_way.get(attempt.chunk)
        if under_way is not None:
            under_way.pop(attempt.number, None)
            if not under_way:
                del self._under_way[attempt.chunk]
                self._since.pop(attempt.chunk, None)

    def _repeat(self, attempt: Assignment) -> None:
        """Hand the chunk out again, unless it is done or another attempt runs."""
        chunk = attempt.chunk
        self.retries += 1
        if self._done[chunk] or chunk in self._under_way:
            return
        self._backed.discard(chunk)
        self._again[chunk] = attempt.count
