"""Placement, eviction and turns: pure decisions over a pool that is only a value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.pool.policy import (
    BLOCKING_IN_A_ROW,
    OVERTAKE_MS,
    Board,
    Create,
    Decision,
    Evict,
    Refuse,
    Reuse,
    Revision,
    UsePrewarmed,
    Wait,
    blocking_next,
    expired,
    fewest,
    overtaking_costs,
    place,
    to_prewarm,
    to_shrink,
)

PYTHON = "python:3.11"


def revision(name: str = "hello") -> Revision:
    return ("guest", f"guest/{name}", "0.0.1", 1)


HELLO = revision()


@dataclass(frozen=True)
class Need:
    revision: Revision = HELLO
    kind: str = "python:default"
    memory_mb: int = 256
    network: str = "auto"
    concurrency: int = 1


@dataclass(frozen=True)
class Box:
    """A sandbox; without a revision it stands prewarmed."""

    name: str
    memory_mb: int = 256
    revision: Revision | None = None
    kind: str = PYTHON


@dataclass(frozen=True)
class Shelf:
    """A pool as a value. `boxes` are idle or prewarmed, oldest use first."""

    memory_mb: int = 1024
    busy_mb: int = 0
    freeing_mb: int = 0
    boxes: tuple[Box, ...] = ()
    coming: Box | None = None
    kinds: dict[str, str] = field(default_factory=lambda: {"python:default": PYTHON})

    @property
    def used_mb(self) -> int:
        return self.busy_mb + self.freeing_mb + sum(b.memory_mb for b in self.boxes)

    def concrete(self, kind: str) -> str | None:
        return self.kinds.get(kind)

    def warm_for(self, revision: Revision) -> Box | None:
        return next((b for b in reversed(self.boxes) if b.revision == revision), None)

    def coming_for(self, revision: Revision) -> Box | None:
        fits = self.coming is not None and self.coming.revision == revision
        return self.coming if fits else None

    def prewarmed_for(self, kind: str, memory_mb: int) -> Box | None:
        fits = (b for b, mb in self.prewarmed() if (b.kind, mb) == (kind, memory_mb))
        return next(fits, None)

    def idle(self) -> Iterable[tuple[Box, int]]:
        return [(b, b.memory_mb) for b in self.boxes if b.revision is not None]

    def prewarmed(self) -> Iterable[tuple[Box, int]]:
        return [(b, b.memory_mb) for b in self.boxes if b.revision is None]


def warm(name: str, memory_mb: int = 256, of: str = "other") -> Box:
    return Box(name, memory_mb, revision(of))


# --- choosing (D6) ------------------------------------------------------------------


def test_create_a_container_if_there_is_space() -> None:
    assert place(Need(), Shelf()) == Create(PYTHON)


def test_reuse_a_warm_container() -> None:
    box = warm("a", of="hello")
    assert place(Need(), Shelf(boxes=(box,))) == Reuse(box)


def test_the_container_used_last_is_reused() -> None:
    old, new = warm("old", of="hello"), warm("new", of="hello")
    assert place(Need(), Shelf(boxes=(old, new))) == Reuse(new)


def test_a_job_whose_network_is_narrowed_takes_no_prewarmed_one() -> None:
    shelf = Shelf(boxes=(Box("stem"),))
    assert place(Need(), shelf) == UsePrewarmed(Box("stem"))
    assert place(Need(network="none"), shelf) == Create(PYTHON)


def test_d6_a_job_for_several_at_once_boards_what_is_made_for_it() -> None:
    coming = warm("a", of="hello")
    several = Need(concurrency=3)
    assert place(several, Shelf(coming=coming)) == Board(coming)
    assert place(Need(), Shelf(coming=coming)) == Create(PYTHON)
    assert place(several, Shelf(coming=warm("b"))) == Create(PYTHON)
    idle = warm("c", of="hello")
    assert place(several, Shelf(boxes=(idle,), coming=coming)) == Reuse(idle)


def test_a_warm_container_is_better_than_a_prewarmed_one() -> None:
    box = warm("a", of="hello")
    shelf = Shelf(boxes=(box, Box("stem")))
    assert place(Need(), shelf) == Reuse(box)


@pytest.mark.parametrize(
    "other",
    [
        ("elsewhere", "guest/hello", "0.0.1", 1),
        ("guest", "guest/goodbye", "0.0.1", 1),
        ("guest", "guest/hello", "0.0.2", 1),
        ("guest", "guest/hello", "0.0.1", 2),
    ],
    ids=["namespace", "name", "version", "update"],
)
def test_d9_not_reuse_a_warm_container_of_a_different(other: Revision) -> None:
    shelf = Shelf(boxes=(Box("a", revision=other),))
    assert place(Need(), shelf) == Create(PYTHON)


def test_use_a_prewarmed_container_of_the_kind() -> None:
    stem = Box("stem")
    assert place(Need(), Shelf(boxes=(stem,))) == UsePrewarmed(stem)


def test_not_use_a_prewarmed_container_if_it_doesnt_fit_the_kind() -> None:
    shelf = Shelf(boxes=(Box("stem", kind="nodejs:20"),))
    assert place(Need(), shelf) == Create(PYTHON)


def test_not_use_a_prewarmed_container_if_it_doesnt_fit_memory_wise() -> None:
    shelf = Shelf(boxes=(Box("stem", memory_mb=128),))
    assert place(Need(), shelf) == Create(PYTHON)


def test_d7_busy_containers_count_by_their_declared_memory() -> None:
    assert place(Need(), Shelf(busy_mb=768)) == Create(PYTHON)
    assert place(Need(), Shelf(busy_mb=769)) == Wait(on_its_way=False)


def test_an_action_greater_than_the_pool_is_refused_and_told_why() -> None:
    decision = place(Need(memory_mb=512), Shelf(memory_mb=256))
    assert decision == Refuse(
        "The action needs 512 MB of memory and this node has 256 MB for all of its "
        "sandboxes."
    )


def test_a_kind_that_nothing_serves_is_refused_and_told_why() -> None:
    decision = place(Need(kind="cobol:60"), Shelf())
    assert decision == Refuse("This node has no runtime for the kind 'cobol:60'.")


def test_a_warm_container_is_reused_though_the_pool_has_shrunk_below_it() -> None:
    box = warm("a", 512, of="hello")
    shelf = Shelf(memory_mb=256, boxes=(box,))
    assert place(Need(memory_mb=512), shelf) == Reuse(box)


# --- eviction -----------------------------------------------------------------------


def test_remove_the_oldest_if_the_pool_is_full() -> None:
    a, b = warm("a"), warm("b")
    shelf = Shelf(memory_mb=512, boxes=(a, b))
    assert place(Need(), shelf) == Evict((a,))


def test_remove_several_containers_for_a_large_action() -> None:
    a, b, c = warm("a"), warm("b"), warm("c")
    shelf = Shelf(memory_mb=768, boxes=(a, b, c))
    assert place(Need(memory_mb=512), shelf) == Evict((a, b))


def test_what_turns_out_not_to_be_needed_is_spared() -> None:
    small, large = warm("small", 128), warm("large", 512)
    shelf = Shelf(memory_mb=640, boxes=(small, large))
    assert place(Need(memory_mb=512), shelf) == Evict((large,))


def test_not_remove_a_container_if_that_is_not_enough() -> None:
    shelf = Shelf(memory_mb=512, busy_mb=256, boxes=(warm("a"),))
    assert place(Need(memory_mb=512), shelf) == Wait(on_its_way=False)


def test_asking_again_while_memory_is_on_its_way_evicts_no_more() -> None:
    shelf = Shelf(memory_mb=512, freeing_mb=256, boxes=(warm("a"),))
    assert place(Need(), shelf) == Wait(on_its_way=True)


def test_memory_on_its_way_is_counted_before_more_is_evicted() -> None:
    a, b = warm("a"), warm("b")
    shelf = Shelf(memory_mb=768, freeing_mb=256, boxes=(a, b))
    assert place(Need(memory_mb=512), shelf) == Evict((a,))


def test_prewarmed_containers_are_not_evicted() -> None:
    a = warm("a")
    shelf = Shelf(memory_mb=512, boxes=(Box("stem", kind="nodejs:20"), a))
    assert place(Need(), shelf) == Evict((a,))


def test_a_prewarmed_container_is_not_evicted_for_one_that_fits_beside_it() -> None:
    shelf = Shelf(memory_mb=512, busy_mb=256, boxes=(Box("stem", kind="nodejs:20"),))
    assert place(Need(), shelf) == Wait(on_its_way=False)


def test_a_prewarmed_container_is_evicted_when_the_job_would_wait_for_ever() -> None:
    stems = (Box("one", kind="nodejs:20"), Box("two", kind="nodejs:20"))
    shelf = Shelf(memory_mb=512, boxes=stems)
    assert place(Need(), shelf) == Evict(stems[:1])


boxes = st.lists(
    st.builds(
        Box,
        name=st.uuids().map(str),
        memory_mb=st.sampled_from([128, 256, 384, 512]),
        revision=st.none() | st.sampled_from("abc").map(revision),
        kind=st.sampled_from([PYTHON, "nodejs:20"]),
    ),
    max_size=6,
).map(tuple)
needs = st.builds(
    Need,
    revision=st.sampled_from("abc").map(revision),
    memory_mb=st.sampled_from([128, 256, 384, 512, 1024]),
)


@st.composite
def shelves(draw: st.DrawFn) -> Shelf:
    """Any pool within its memory."""
    shelf = Shelf(
        busy_mb=draw(st.sampled_from([0, 128, 256, 512])),
        freeing_mb=draw(st.sampled_from([0, 128, 256])),
        boxes=draw(boxes),
    )
    spare_mb = draw(st.sampled_from([0, 64, 128, 256, 512]))
    return replace(shelf, memory_mb=max(shelf.used_mb + spare_mb, 256))


def carry_out(decision: Decision[Box], need: Need, shelf: Shelf) -> Shelf:
    match decision:
        case Reuse(sandbox=box) | UsePrewarmed(sandbox=box):
            left = tuple(b for b in shelf.boxes if b is not box)
            return replace(shelf, boxes=left, busy_mb=shelf.busy_mb + box.memory_mb)
        case Create():
            return replace(shelf, busy_mb=shelf.busy_mb + need.memory_mb)
        case Evict(victims=victims):
            left = tuple(b for b in shelf.boxes if b not in victims)
            freeing_mb = shelf.freeing_mb + sum(v.memory_mb for v in victims)
            return replace(shelf, boxes=left, freeing_mb=freeing_mb)
    return shelf


@given(needs, shelves())
def test_the_declared_memory_never_exceeds_the_pools(need: Need, shelf: Shelf) -> None:
    after = carry_out(place(need, shelf), need, shelf)
    assert after.used_mb <= after.memory_mb


@given(needs, shelves())
def test_the_same_action_always_reuses_its_warm_container(
    need: Need, shelf: Shelf
) -> None:
    fitting = shelf.warm_for(need.revision)
    decision = place(need, shelf)
    assert (decision == Reuse(fitting)) == (fitting is not None)


@given(needs, shelves())
def test_only_idle_ones_are_evicted_and_no_one_too_many(
    need: Need, shelf: Shelf
) -> None:
    decision = place(need, shelf)
    if not isinstance(decision, Evict):
        return
    free_mb = shelf.memory_mb - shelf.used_mb + shelf.freeing_mb
    freed_mb = [v.memory_mb for v in decision.victims]
    assert free_mb + sum(freed_mb) >= need.memory_mb
    for one in freed_mb:
        assert free_mb + sum(freed_mb) - one < need.memory_mb
    if any(v.revision is None for v in decision.victims):
        prewarmed_mb = sum(mb for _, mb in shelf.prewarmed())
        assert need.memory_mb > shelf.memory_mb - prewarmed_mb


@given(needs, shelves())
def test_an_eviction_makes_the_job_run_and_nothing_waits_for_ever(
    need: Need, shelf: Shelf
) -> None:
    """When all that is busy or leaving has ended, the job is placed or refused."""
    quiet = replace(shelf, busy_mb=0, freeing_mb=0)
    decision = place(need, quiet)
    if isinstance(decision, Evict):
        quiet = replace(carry_out(decision, need, quiet), freeing_mb=0)
        decision = place(need, quiet)
    assert isinstance(decision, Reuse | UsePrewarmed | Create | Refuse)


@given(needs, shelves())
def test_it_asks_to_wait_only_when_nothing_it_may_do_would_help(
    need: Need, shelf: Shelf
) -> None:
    decision = place(need, shelf)
    if isinstance(decision, Wait):
        free_mb = shelf.memory_mb - shelf.used_mb
        idle_mb = sum(mb for _, mb in shelf.idle())
        assert free_mb < need.memory_mb
        helped_mb = free_mb + shelf.freeing_mb
        assert (helped_mb >= need.memory_mb) == decision.on_its_way
        assert decision.on_its_way or helped_mb + idle_mb < need.memory_mb


@given(boxes, st.integers(min_value=1, max_value=3000))
def test_fewest_prefers_the_oldest(some: tuple[Box, ...], missing_mb: int) -> None:
    candidates = [(box, box.memory_mb) for box in some]
    victims = fewest(candidates, missing_mb)
    if sum(mb for _, mb in candidates) < missing_mb:
        assert victims == ()
        return
    last = some.index(victims[-1])
    assert sum(b.memory_mb for b in some[:last]) < missing_mb
    assert list(victims) == [b for b in some if b in victims]


# --- turns --------------------------------------------------------------------------


def test_blocking_jobs_go_first_but_not_for_ever() -> None:
    in_a_row, order = 0, ""
    for _ in range(8):
        blocking = blocking_next(blocking=True, others=True, in_a_row=in_a_row)
        in_a_row = in_a_row + 1 if blocking else 0
        order += "b" if blocking else "o"
    assert order == "bbbobbbo"
    assert BLOCKING_IN_A_ROW == 3


@given(st.integers(min_value=0, max_value=10))
def test_a_lane_alone_is_always_next(in_a_row: int) -> None:
    assert blocking_next(blocking=True, others=False, in_a_row=in_a_row)
    assert not blocking_next(blocking=False, others=True, in_a_row=in_a_row)


def test_overtaking_is_free_when_the_heads_memory_is_on_its_way() -> None:
    cost = overtaking_costs(
        Wait(on_its_way=True), sandbox="a", run_ms=60_000, overtaken_ms=OVERTAKE_MS
    )
    assert cost == 0


def test_only_a_victim_overtakes_as_the_others_may_do_so_freely_afterwards() -> None:
    decision = Evict(("a",))
    assert overtaking_costs(decision, sandbox="a", run_ms=5, overtaken_ms=0) == 5
    assert overtaking_costs(decision, sandbox="b", run_ms=5, overtaken_ms=0) is None


@pytest.mark.parametrize("decision", [Evict(("a",)), Wait(on_its_way=False)])
def test_a_head_is_not_delayed_by_a_long_run(decision: Decision[str]) -> None:
    cost = overtaking_costs(
        decision, sandbox="a", run_ms=OVERTAKE_MS + 1, overtaken_ms=0
    )
    assert cost is None


@given(st.lists(st.integers(min_value=0, max_value=OVERTAKE_MS), max_size=400))
def test_a_head_is_overtaken_for_a_bounded_time_and_number(runs_ms: list[int]) -> None:
    overtaken_ms = number = running_ms = 0
    for run_ms in runs_ms:
        cost = overtaking_costs(
            Evict(("a",)), sandbox="a", run_ms=run_ms, overtaken_ms=overtaken_ms
        )
        if cost is not None:
            overtaken_ms, number = overtaken_ms + cost, number + 1
            running_ms += run_ms
    assert running_ms <= OVERTAKE_MS
    assert number <= OVERTAKE_MS


# --- upkeep -------------------------------------------------------------------------


def test_those_not_used_for_the_idle_time_are_expired() -> None:
    idle = [("a", 10), ("b", 20), ("c", 30)]
    assert expired(idle, now_ns=120, idle_ns=100) == ("a", "b")
    assert expired(idle, now_ns=109, idle_ns=100) == ()
    assert expired([], now_ns=109, idle_ns=100) == ()


def test_what_is_missing_of_the_prewarmed_is_started() -> None:
    wanted, standing = {"p": 2, "n": 1}, {"p": 1}
    assert to_prewarm(wanted, standing, free_mb=1024) == ("p", "n")
    assert to_prewarm(wanted, {"p": 2, "n": 1}, free_mb=1024) == ()
    assert to_prewarm(wanted, {"p": 5, "n": 1}, free_mb=1024) == ()
    assert to_prewarm({}, {}, free_mb=1024) == ()


def test_kinds_take_turns_when_memory_is_short() -> None:
    wanted = {"p": 3, "n": 3}
    assert to_prewarm(wanted, {}, free_mb=512) == ("p", "n")
    assert to_prewarm(wanted, {}, free_mb=1023) == ("p", "n", "p")
    assert to_prewarm(wanted, {}, free_mb=255) == ()
    assert to_prewarm(wanted, {}, free_mb=-256) == ()


def test_a_pool_that_shrinks_removes_the_oldest_idle_then_the_prewarmed() -> None:
    a, b, stem = warm("a"), warm("b"), Box("stem")
    shelf = Shelf(memory_mb=768, boxes=(stem, a, b))
    assert to_shrink(shelf) == ()
    assert to_shrink(replace(shelf, memory_mb=512)) == (a,)
    assert to_shrink(replace(shelf, memory_mb=1)) == (a, b, stem)


def test_a_pool_that_shrinks_waits_for_the_busy_ones() -> None:
    a = warm("a")
    shelf = Shelf(memory_mb=256, busy_mb=512, boxes=(a,))
    assert to_shrink(shelf) == (a,)
    assert to_shrink(replace(shelf, boxes=(), freeing_mb=256)) == ()
