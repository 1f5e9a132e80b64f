"""The policy, one decision at a time, and in a simulated fleet."""

from __future__ import annotations

import math
import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.mapreduce.pace import TARGET_S
from controller.mapreduce.policy import (
    LOSSES,
    PAUSE_MOST_S,
    WINDOW_SLOTS,
    Assignment,
    Schedule,
    Wait,
)
from controller.mapreduce.simulated import Machine, Simulation, simulate


def take(schedule: Schedule, node: str, now: float = 0.0) -> Assignment:
    decision = schedule.take(node, now=now)
    assert isinstance(decision, Assignment)
    return decision


def take_all(schedule: Schedule, node: str, now: float = 0.0) -> list[Assignment]:
    found = []
    while isinstance(decision := schedule.take(node, now=now), Assignment):
        found.append(decision)
    return found


# --- one decision at a time ---------------------------------------------------------


def test_chunks_are_handed_out_in_order_up_to_the_window() -> None:
    schedule = Schedule(100)
    schedule.join("a", slots=3)
    chunks = [attempt.chunk for attempt in take_all(schedule, "a")]
    assert chunks == [0, 1, 2, 3]  # its slots, and one ahead
    assert isinstance(schedule.take("a", now=0), Wait)
    assert schedule.in_flight == schedule.in_flight_on("a") == 4


def test_quick_chunks_widen_the_window_and_slow_ones_do_not() -> None:
    windows = {}
    for seconds in (0.001, 10.0):
        schedule = Schedule(1000)
        schedule.join("a", slots=4)
        schedule.completed(take(schedule, "a"), seconds=seconds, now=1)
        windows[seconds] = schedule.window("a")
    assert windows == {0.001: 4 * WINDOW_SLOTS, 10.0: 4}


def test_nothing_is_queued_ahead_at_the_end_of_a_run() -> None:
    schedule = Schedule(4)
    schedule.join("a", slots=2)
    schedule.join("b", slots=2)
    assert len(take_all(schedule, "a")) == 2
    assert len(take_all(schedule, "b")) == 2


def test_a_lost_chunk_goes_to_another_node_first() -> None:
    schedule = Schedule(10)
    schedule.join("a", slots=1)
    schedule.join("b", slots=1)
    attempt = take(schedule, "a")
    assert schedule.lost(attempt)
    assert take(schedule, "a").chunk == 1
    assert take(schedule, "b").chunk == 0
    assert schedule.retries == 1


def test_a_lost_chunk_comes_back_when_there_is_nowhere_else() -> None:
    schedule = Schedule(10)
    schedule.join("a", slots=1)
    schedule.lost(take(schedule, "a"))
    assert take(schedule, "a").chunk == 0


def test_a_chunk_that_is_lost_too_often_is_told() -> None:
    schedule = Schedule(1)
    schedule.join("a", slots=1)
    bearable = [schedule.lost(take(schedule, "a")) for _ in range(LOSSES)]
    assert bearable == [True] * (LOSSES - 1) + [False]


def test_a_refusal_pauses_the_node_and_costs_the_chunk_nothing() -> None:
    schedule = Schedule(100)
    schedule.join("a", slots=4)
    attempts = take_all(schedule, "a")
    schedule.refused(attempts[-1], now=0)
    decision = schedule.take("a", now=0.01)
    assert isinstance(decision, Wait)
    assert 0 < decision.seconds < PAUSE_MOST_S
    assert schedule.window("a") == len(attempts) - 1
    for _ in range(10 * LOSSES):
        schedule.join("b", slots=1)
        schedule.refused(take(schedule, "b"), now=0)
    schedule.join("b", slots=1)
    assert take(schedule, "b").chunk == attempts[-1].chunk


def test_refusals_in_a_row_pause_longer_and_longer() -> None:
    schedule, pauses, now = Schedule(9), [], 0.0
    schedule.join("a", slots=1)
    for _ in range(10):
        schedule.refused(take(schedule, "a", now), now=now)
        decision = schedule.take("a", now=now)
        assert isinstance(decision, Wait)
        pauses.append(decision.seconds)
        now += decision.seconds + 0.001
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(PAUSE_MOST_S)
    assert schedule.refused_everywhere


def test_the_host_may_say_itself_how_long_to_pause() -> None:
    schedule = Schedule(9)
    schedule.join("a", slots=1)
    schedule.refused(take(schedule, "a"), now=5, asked_s=30)
    assert schedule.take("a", now=5) == Wait(30)


def test_a_narrowed_window_grows_back_with_success() -> None:
    schedule = Schedule(1000)
    schedule.join("a", slots=4)
    attempts = take_all(schedule, "a")
    for attempt in attempts:
        schedule.refused(attempt, now=0)
    assert schedule.window("a") == 1
    for now in range(10, 60):
        schedule.completed(take(schedule, "a", now), seconds=1.0, now=now)
    assert schedule.window("a") == 5
    assert not schedule.refused_everywhere


def test_what_a_node_did_goes_elsewhere_when_it_leaves() -> None:
    schedule = Schedule(100)
    schedule.join("a", slots=2)
    schedule.join("b", slots=9)
    gone = [attempt.chunk for attempt in take_all(schedule, "a")]
    assert schedule.leave("a") == []
    assert schedule.nodes == 1
    again = [attempt.chunk for attempt in take_all(schedule, "b")]
    assert again[: len(gone)] == gone


def test_a_late_answer_of_a_node_that_left_counts_once() -> None:
    schedule = Schedule(1)
    schedule.join("a", slots=1)
    schedule.join("b", slots=1)
    first = take(schedule, "a")
    schedule.leave("a")
    second = take(schedule, "b")
    assert schedule.completed(first, seconds=1, now=1)
    assert not schedule.completed(second, seconds=1, now=1)
    assert schedule.completed_units == 1
    assert schedule.finished


def test_a_straggler_is_backed_up_once_on_another_node() -> None:
    schedule = Schedule(10)
    for node in "abc":
        schedule.join(node, slots=10)
    slow, *others = take_all(schedule, "a")
    assert len(others) == 9
    for attempt in others:
        schedule.completed(attempt, seconds=1, now=1)
    assert isinstance(schedule.take("b", now=2.9), Wait)
    backup = take(schedule, "b", 3.1)
    assert (backup.chunk, backup.backup) == (slow.chunk, True)
    assert isinstance(schedule.take("c", now=99), Wait)
    assert isinstance(schedule.take("a", now=99), Wait)
    assert schedule.backups == 1
    assert schedule.completed(backup, seconds=1, now=4)
    assert not schedule.completed(slow, seconds=4, now=5)


def test_a_lost_original_is_not_repeated_while_its_backup_runs() -> None:
    schedule = Schedule(10)
    schedule.join("a", slots=10)
    schedule.join("b", slots=1)
    slow, *others = take_all(schedule, "a")
    for attempt in others:
        schedule.completed(attempt, seconds=1, now=1)
    backup = take(schedule, "b", 9)
    schedule.lost(slow)
    assert isinstance(schedule.take("a", now=9), Wait)
    schedule.lost(backup)
    assert take(schedule, "a", 9).chunk == slow.chunk


def test_a_resumed_run_leaves_out_what_is_done() -> None:
    schedule = Schedule(5, done=[(0, 1), (2, 2)])
    schedule.join("a", slots=9)
    assert [attempt.chunk for attempt in take_all(schedule, "a")] == [1, 4]


# --- whole runs ---------------------------------------------------------------------


def test_slots_of_a_plain_fleet_never_wait() -> None:
    machines = {f"n{i}": Machine(0.1, slots=4) for i in range(3)}
    makespan, counted = simulate(Schedule(600), machines)
    ideal = 600 * 0.1 / 12
    assert makespan <= 1.05 * ideal
    assert set(counted.values()) == {1}


def test_tiny_chunks_are_not_slowed_by_the_network() -> None:
    machines = {f"n{i}": Machine(0.002, slots=4) for i in range(3)}
    makespan, _ = simulate(Schedule(5000), machines)
    assert makespan <= 1.2 * 5000 * 0.002 / 12


def test_speeds_of_one_two_four_end_together() -> None:
    machines = {"a": Machine(0.4), "b": Machine(0.2), "c": Machine(0.1)}
    makespan, counted = simulate(Schedule(200), machines)
    ideal = 200 / (1 / 0.4 + 1 / 0.2 + 1 / 0.1)
    assert makespan <= 1.1 * ideal
    assert len(counted) == 200


def test_a_node_killed_at_half_time_costs_little() -> None:
    ideal_two = 300 * 0.1 / 2
    half = 300 * 0.1 / 3 / 2
    machines = {"a": Machine(0.1), "b": Machine(0.1), "c": Machine(0.1, dies_at=half)}
    makespan, counted = simulate(Schedule(300), machines)
    assert makespan <= 1.25 * ideal_two
    assert set(counted.values()) == {1}
    assert len(counted) == 300


def test_a_throttled_host_is_used_as_far_as_it_goes() -> None:
    machines = {"a": Machine(0.05, slots=4, moods="dr"), "b": Machine(0.05, slots=4)}
    _, counted = simulate(Schedule(200), machines)
    assert sum(counted.values()) == len(counted) == 200


machine_strategy = st.builds(
    Machine,
    seconds=st.floats(0.01, 2),
    slots=st.integers(1, 4),
    dies_at=st.one_of(st.just(float("inf")), st.floats(0.1, 5)),
    back_at=st.one_of(st.just(float("inf")), st.floats(6, 9)),
    moods=st.sampled_from(["d", "ddddl", "dr", "ddrl", "rrd"]),
)


@settings(max_examples=60, deadline=None)
@given(
    machines=st.lists(machine_strategy, min_size=1, max_size=5),
    chunks=st.integers(1, 80),
)
def test_every_chunk_counts_exactly_once_whatever_happens(
    machines: list[Machine], chunks: int
) -> None:
    fleet = {f"n{number}": machine for number, machine in enumerate(machines)}
    fleet["steady"] = Machine(0.1)
    makespan, counted = simulate(Schedule(chunks), fleet)
    assert counted == Counter(range(chunks))
    assert makespan < 100 * (chunks + 1)


@settings(max_examples=40, deadline=None)
@given(
    machines=st.lists(machine_strategy, min_size=1, max_size=4),
    units=st.integers(1, 3000),
)
def test_every_unit_of_a_group_counts_exactly_once_too(
    machines: list[Machine], units: int
) -> None:
    fleet = {f"n{number}": machine for number, machine in enumerate(machines)}
    for machine in machines:
        machine.seconds /= 100
    fleet["steady"] = Machine(0.001)
    schedule = Schedule(units, grouped=True, fits=lambda _, count: min(count, 400))
    _, counted = simulate(schedule, fleet)
    assert counted == Counter(range(units))


def test_groups_grow_to_what_a_node_does_in_the_target_time() -> None:
    sizes: dict[str, list[int]] = {"quick": [], "slow": []}
    schedule = Schedule(1_000_000, grouped=True)
    for node in sizes:
        schedule.join(node, slots=1)
    for now in range(40):
        for node, unit_s in (("quick", 0.001), ("slow", 0.01)):
            attempt = take(schedule, node, now)
            sizes[node].append(attempt.count)
            schedule.completed(attempt, seconds=unit_s * attempt.count, now=now)
    assert sizes["quick"][0] == sizes["slow"][0] == 1
    assert sizes["quick"][-1] == pytest.approx(TARGET_S / 0.001, rel=0.01)
    assert sizes["slow"][-1] == pytest.approx(TARGET_S / 0.01, rel=0.05)


def test_groups_shrink_towards_the_end() -> None:
    schedule = Schedule(2000, grouped=True)
    schedule.join("a", slots=1)
    schedule.join("b", slots=1)
    sizes, now = [], 0.0
    while not schedule.finished:
        for node in "ab":
            attempt = schedule.take(node, now=now)
            if isinstance(attempt, Assignment):
                sizes.append(attempt.count)
                schedule.completed(attempt, seconds=0.001 * attempt.count, now=now)
        now += 1
    assert max(sizes) > 100
    assert sizes[-2:] == [1, 1]


@pytest.mark.parametrize("grouped", [False, True])
def test_unequal_nodes_end_within_five_percent_of_the_ideal(grouped: bool) -> None:
    speeds = {"a": 1, "b": 2, "c": 4}
    units = 20_000 if grouped else 700
    seconds = 0.005 if grouped else 0.2
    machines = {
        name: Machine(seconds * 4 / speed, slots=2) for name, speed in speeds.items()
    }
    makespan, _ = simulate(Schedule(units, grouped=grouped), machines)
    ideal = units / sum(m.slots / m.seconds for m in machines.values())
    assert makespan <= 1.05 * ideal


def test_a_slow_node_leaves_the_last_chunks_to_a_quick_one() -> None:
    schedule = Schedule(20)
    schedule.join("slow", slots=1)
    schedule.join("quick", slots=1)
    schedule.completed(take(schedule, "slow"), seconds=10, now=10)
    for now in range(18):
        schedule.completed(take(schedule, "quick", now), seconds=1, now=now + 1)
    assert isinstance(schedule.take("slow", now=20), Wait)
    assert isinstance(schedule.take("slow", now=23), Wait)
    assert take(schedule, "slow", 24.1).chunk == 19  # the quick one may be dead


THOUSAND_UNITS = 30_000


def test_a_thousand_nodes_cost_little_to_schedule() -> None:
    """Nodes of all speeds, some of which die; the network costs 5 ms."""
    chance = random.Random(7)  # noqa: S311
    machines = {
        f"n{i}": Machine(
            chance.uniform(0.5, 2), slots=2, dies_at=9.0 if i % 50 == 7 else math.inf
        )
        for i in range(1000)
    }
    schedule = Schedule(THOUSAND_UNITS)
    simulation = Simulation(schedule, machines)
    began = time.process_time()
    makespan = simulation.run()
    spent = time.process_time() - began
    assert simulation.counted == Counter(range(THOUSAND_UNITS))
    early = sum(9 * m.slots / m.seconds for m in machines.values())
    left = sum(m.slots / m.seconds for m in machines.values() if m.dies_at == math.inf)
    ideal = 9 + (THOUSAND_UNITS - early) / left
    assert makespan <= 1.05 * ideal
    # The simulation itself is in it: twice as much as is allowed for both.
    assert spent / THOUSAND_UNITS <= 200e-6
