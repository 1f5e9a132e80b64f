"""Whether the clock can be believed."""

from __future__ import annotations

from edge_agent.events.clock import Clock, Reading, kernel_keeps_time

SEEN = 1_800_000_000_000


class Times:
    def __init__(self) -> None:
        self.wall, self.mono, self.kept = SEEN, 5_000, False

    def clock(self, *, wait: bool = True) -> Clock:
        clock = Clock(
            wait=wait,
            wall_ms=lambda: self.wall,
            mono_ms=lambda: self.mono,
            kept=lambda: self.kept,
        )
        clock.remember(SEEN)
        return clock


def test_a_clock_behind_what_was_seen_is_unsynced_until_it_has_caught_up() -> None:
    times = Times()
    clock = times.clock()
    times.wall = SEEN - 60_000

    assert clock.read() == Reading(times.wall, 5_000, synced=False, behind_ms=60_000)
    assert clock.health()["synced"] is False
    assert clock.health()["behind_s"] == 60.0
    times.wall = SEEN + 1
    assert clock.read() == Reading(times.wall, 5_000, synced=True)
    assert clock.seen_ms == SEEN + 1


def test_a_small_step_back_is_no_reason_to_wait_and_forgets_nothing() -> None:
    times = Times()
    clock = times.clock()
    times.wall = SEEN - 1_500

    assert clock.read().synced
    assert clock.seen_ms == SEEN


def test_a_time_server_knows_better_than_what_was_seen() -> None:
    times = Times()
    times.kept = True
    clock = times.clock()
    times.wall = SEEN - 86_400_000

    assert clock.read().stepped_back_ms == 86_400_000
    assert clock.read() == Reading(times.wall, 5_000, synced=True)
    assert clock.health()["kept"] is True


def test_who_does_not_want_to_wait_need_not() -> None:
    times = Times()
    clock = times.clock(wait=False)
    times.wall = SEEN - 86_400_000

    assert clock.read().synced


def test_the_kernel_can_be_asked() -> None:
    assert kernel_keeps_time() in {True, False}
