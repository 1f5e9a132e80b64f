"""Lines and delays: order of each line, and bounded memory for what waits."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from edge_agent.engine import lines as lines_module
from edge_agent.engine.delays import Delays
from edge_agent.engine.lines import Lines
from edge_agent.store.inbox import Accepted, InboxRow


def row(seq: int, line: str | None, *, size: int = 10) -> InboxRow:
    accepted = Accepted(
        activation_id=f"{seq:032x}",
        namespace="guest",
        action="guest/a",
        version="0.0.1",
        arguments=Raw(b"{}"),
        accepted_ms=1,
        transaction_id="t",
        line=line,
    )
    return InboxRow(seq, size, accepted)


def play(rows: list[InboxRow]) -> list[int]:
    """Run all of them, the oldest that may first; what is passed over is re-read."""
    lines = Lines()
    free = deque(one for one in rows if lines.enter(one))
    order: list[int] = []
    while free:
        ended = free.popleft()
        order.append(ended.seq)
        following = lines.leave(ended)
        if following is not None:
            free.append(following)
        for name, after in list(lines.wanted.items()):
            upto = lines.passed(name)
            of = [r for r in rows if r.accepted.line == name]
            piece = [r for r in of if after < r.seq <= upto][:3]
            upto = piece[-1].seq if piece else upto
            first = lines.found(name, piece, upto=upto)
            if first is not None:
                free.append(first)
    assert len(lines) == 0
    return order


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60), st.integers(1, 8))
def test_every_row_runs_once_and_each_line_in_order(
    names: list[str | None], kept: int
) -> None:
    rows = [row(seq, name) for seq, name in enumerate(names, 1)]
    before = lines_module.WAITING_ROWS
    lines_module.WAITING_ROWS = kept
    try:
        order = play(rows)
    finally:
        lines_module.WAITING_ROWS = before
    assert sorted(order) == [r.seq for r in rows]
    for name in ("a", "b", "c"):
        of_line = [seq for seq in order if names[seq - 1] == name]
        assert of_line == sorted(of_line)


def test_a_held_line_holds_nobody_else() -> None:
    lines = Lines()
    lines.hold("a")
    assert not lines.enter(row(1, "a"))
    assert lines.enter(row(2, "b"))
    assert lines.enter(row(3, None))


@given(
    st.lists(st.floats(0, 100), unique=True, max_size=50),
    st.integers(1, 60),
)
def test_what_is_due_comes_in_its_order_and_the_heap_is_bounded(
    dues: list[float], most: int
) -> None:
    delays = Delays(most=most)
    for seq, due in enumerate(dues, 1):
        delays.add(seq, due)
    assert len(delays) == min(most, len(dues))
    assert delays.behind == (len(dues) > most)
    taken = delays.take(50, most=1000)
    kept = sorted((due, seq) for seq, due in enumerate(dues[:most], 1))
    assert taken == [seq for due, seq in kept if due <= 50]


def test_a_row_that_holds_its_line_is_remembered_above_the_bound() -> None:
    delays = Delays(most=1)
    delays.add(1, 1.0)
    delays.add(2, 2.0, must=True)
    assert (len(delays), delays.behind) == (2, False)


def test_what_was_discarded_is_due_never() -> None:
    delays = Delays()
    delays.add(1, 1.0)
    delays.add(2, 2.0)
    delays.discard(1)
    assert delays.next_due == 2.0
    assert delays.take(9, most=9) == [2]
