"""Which node gets which chunk, and when: pure, time comes in as a number.

A node with room asks (`take`) and is told what to do: run this chunk, or wait. What
became of it is told back (`completed`, `refused`, `lost`). Nothing here awaits
or looks at a clock, so a run can be simulated.

- *Window.* A node holds as many chunks as it has slots, and a few more, so that none of
  its slots waits for us: as many as it finishes in `AHEAD_S`. At the end of the run,
  when a chunk queued at a busy node could run elsewhere, there are none ahead. A node
  that refuses (429, 503) gets a pause and a smaller window, which grows by one for each
  window of chunks it completes.
- *Retry.* A refused or lost chunk goes first, to a node where it has not failed as long
  as there is one. Lost `LOSSES` times, it ends the run; refusals cost it nothing.
- *Backup.* When nothing is left to hand out, a chunk that has been under way for long
  (three times the median) is given to a second node; whichever answers first counts.
- *Once.* A chunk counts once, whatever is repeated and however late an answer comes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

#: The time we may need to hand a node its next chunk.
AHEAD_S = 0.05
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


@dataclass(frozen=True, slots=True)
class Assignment:
    """Run `chunk` on `node`. `number` tells one attempt from another."""

    number: int
    chunk: int
    node: str
    backup: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after `seconds`, or when something has happened."""

    seconds: float


@dataclass(slots=True)
class Place:
    """What the policy knows of a node that takes part."""

    slots: int
    attempts: dict[int, Assignment] = field(default_factory=dict)
    #: Seconds a chunk takes here, smoothed; None until one has ended.
    chunk_s: float | None = None
    #: The window that refusals have left; grows back with every chunk.
    ceiling: float = math.inf
    refusals: int = 0
    paused_until: float = 0.0


class Schedule:
    """The chunks of one run and the nodes that work on them."""

    def __init__(self, chunks: int, *, done: Iterable[int] = ()) -> None:
        """`done`: chunks whose results are already there (a resumed run)."""
        self.chunks = chunks
        self._done = bytearray(chunks)
        for chunk in done:
            self._done[chunk] = 1
        self.completed_chunks = sum(self._done)
        self._next = 0
        self._again: deque[int] = deque()
        self._failed_on: dict[int, set[str]] = {}
        self._losses: dict[int, int] = {}
        self._places: dict[str, Place] = {}
        self._slots = 0
        #: Chunks under way: their attempts, and since when, oldest first.
        self._under_way: dict[int, set[int]] = {}
        self._since: dict[int, float] = {}
        self._durations: deque[float] = deque(maxlen=REMEMBERED)
        self._backed: set[int] = set()
        self._numbers = 0
        self.retries = 0
        self.backups = 0

    @property
    def finished(self) -> bool:
        return self.completed_chunks == self.chunks

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

    # --- nodes come and go ------------------------------------------------------

    def join(self, node: str, *, slots: int) -> None:
        self.leave(node)
        self._places[node] = Place(max(1, slots))
        self._slots += max(1, slots)

    def leave(self, node: str) -> bool:
        """The node is gone and so is what it did; False as `lost` says it."""
        place = self._places.pop(node, None)
        if place is None:
            return True
        self._slots -= place.slots
        bearable = [self.lost(attempt) for attempt in place.attempts.values()]
        return all(bearable)

    # --- what to do -------------------------------------------------------------

    def take(self, node: str, *, now: float) -> Assignment | Wait:
        place = self._places[node]
        if place.paused_until > now:
            return Wait(place.paused_until - now)
        if len(place.attempts) >= self.window(node):
            return Wait(LOOK_AGAIN_S)
        chunk, backup = self._retry(node), False
        if chunk is None:
            chunk = self._fresh()
        if chunk is None:
            chunk, backup = self._straggler(node, now), True
        if chunk is None:
            return Wait(LOOK_AGAIN_S)
        return self._assign(chunk, node, place, now, backup=backup)

    def window(self, node: str) -> int:
        """How many chunks the node may hold now."""
        place = self._places[node]
        wanted = place.slots + self._ahead(place)
        return max(1, int(min(wanted, place.ceiling)))

    def _ahead(self, place: Place) -> int:
        left = self.chunks - self._next + len(self._again)
        if left <= self._slots:
            return 0
        if place.chunk_s is None:
            return 1
        most = (WINDOW_SLOTS - 1) * place.slots
        finished = AHEAD_S * place.slots / max(place.chunk_s, 1e-6)
        return max(1, min(most, math.ceil(finished)))

    def _retry(self, node: str) -> int | None:
        for chunk in self._again:
            failed_on = self._failed_on.get(chunk)
            if not failed_on or node not in failed_on or self._nowhere_else(failed_on):
                self._again.remove(chunk)
                return chunk
        return None

    def _nowhere_else(self, failed_on: set[str]) -> bool:
        return all(node in failed_on for node in self._places)

    def _fresh(self) -> int | None:
        while self._next < self.chunks:
            chunk = self._next
            self._next += 1
            if not self._done[chunk]:
                return chunk
        return None

    def _straggler(self, node: str, now: float) -> int | None:
        """The chunk longest under way, if that is too long and it is elsewhere."""
        if self.chunks < BACKUP_CHUNKS or not self._durations:
            return None
        if self.completed_chunks < self.chunks * BACKUP_SHARE:
            return None
        patience_s = max(BACKUP_LEAST_S, BACKUP_TIMES * median(self._durations))
        mine = {attempt.chunk for attempt in self._places[node].attempts.values()}
        for chunk, since in self._since.items():
            if now - since <= patience_s:
                return None  # those after it are younger
            if chunk not in self._backed and chunk not in mine:
                self._backed.add(chunk)
                self.backups += 1
                return chunk
        return None

    def _assign(
        self, chunk: int, node: str, place: Place, now: float, *, backup: bool
    ) -> Assignment:
        self._numbers += 1
        attempt = Assignment(self._numbers, chunk, node, backup)
        place.attempts[attempt.number] = attempt
        self._under_way.setdefault(chunk, set()).add(attempt.number)
        self._since.setdefault(chunk, now)
        return attempt

    # --- what became of it ------------------------------------------------------

    def completed(self, attempt: Assignment, *, seconds: float, now: float) -> bool:
        """True when this answer counts, False when another one did already.

        `seconds` is what the chunk took on its node.
        """
        first = self._done[attempt.chunk] == 0
        if first:
            self._done[attempt.chunk] = 1
            self.completed_chunks += 1
            since = self._since.pop(attempt.chunk, None)
            if since is not None:
                self._durations.append(now - since)
        self._forget(attempt)
        place = self._places.get(attempt.node)
        if place is not None:
            old_s = seconds if place.chunk_s is None else place.chunk_s
            place.chunk_s = 0.8 * old_s + 0.2 * seconds
            place.ceiling += 1 / place.ceiling
            place.refusals = 0
        return first

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
        self._repeat(attempt.chunk)

    def lost(self, attempt: Assignment) -> bool:
        """No answer will come. False when the chunk has been lost too often."""
        self._forget(attempt)
        self._failed_on.setdefault(attempt.chunk, set()).add(attempt.node)
        count = self._losses.get(attempt.chunk, 0) + 1
        self._losses[attempt.chunk] = count
        self._repeat(attempt.chunk)
        return count < LOSSES or bool(self._done[attempt.chunk])

    def _forget(self, attempt: Assignment) -> None:
        place = self._places.get(attempt.node)
        if place is not None:
            place.attempts.pop(attempt.number, None)
        under_way = self._under_way.get(attempt.chunk)
        if under_way is not None:
            under_way.discard(attempt.number)
            if not under_way:
                del self._under_way[attempt.chunk]
                self._since.pop(attempt.chunk, None)

    def _repeat(self, chunk: int) -> None:
        """Hand the chunk out again, unless it is done or another attempt runs."""
        self.retries += 1
        if self._done[chunk] or chunk in self._under_way or chunk in self._again:
            return
        self._backed.discard(chunk)
        self._again.append(chunk)
