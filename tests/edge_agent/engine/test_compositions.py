"""Sequences and compositions as they run: records, ends, limits, nesting, stopping.

The pool of these tests runs actions that are functions; whatever they are and however
they are nested, a run ends, and every component has exactly one record.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from edge_agent.engine.engine import Engine
from edge_agent.engine.limits import Limits
from edge_agent.engine.waiting import Accepted
from edge_agent.model.activations import (
    ActivationRecord,
    Answer,
    StartKind,
    read_run,
)
from edge_agent.model.entities import Action, ActionLimits, Exec, KeyValue
from edge_agent.model.errors import Unavailable
from edge_agent.model.jobs import Finished, Identity, Job
from edge_agent.model.limits import SystemLimits
from edge_agent.model.names import FullName
from edge_agent.settings import Store as StoreSettings
from edge_agent.store.store import Store
from edge_agent.telemetry.log import ActivationLog
from edge_agent.telemetry.stream import ActivationStream

Code = Callable[[Any], Any]


class CodePool:
    """Runs functions; `full` refuses, `held` keeps whatever is called so."""

    slots = 2

    def __init__(self) -> None:
        self.code: dict[str, Code] = {}
        self.ran: list[str] = []
        self.full = 0
        self.held: dict[str, asyncio.Future[Finished]] = {}

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        if self.full:
            self.full -= 1
            raise Unavailable("full")
        future: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        self.ran.append(job.activation_id)
        if job.action.name == "held":
            self.held[job.activation_id] = future
            return future
        value = self.code[job.action.name](json.loads(job.arguments))
        answer = Answer(json.dumps(value).encode())
        future.set_result(
            Finished(
                response=read_run(answer, timeout_ms=1),
                start_ms=time.time_ns() // 1_000_000,
                wait_ms=1,
                run_ms=2,
                start=StartKind.WARM,
            )
        )
        return future


class Stage:
    """An engine on a store, and actions to run."""

    def __init__(self, store: Store, guest: Identity, *, limit: int) -> None:
        self.store = store
        self.guest = guest
        self.pool = CodePool()
        self.records: list[ActivationRecord] = []
        self.engine = Engine(
            store=store,
            pool=self.pool,
            builtins={},
            stream=ActivationStream(),
            log=ActivationLog(),
            limits=Limits(SystemLimits(sequence_length=limit)),
        )

    async def put(
        self, name: str, code: Code, *, memory: int = 256, **fields: Any
    ) -> None:
        self.pool.code[name] = code
        await self._put(name, Exec(kind="python:3.11"), memory=memory, **fields)

    async def put_conductor(self, name: str, code: Code) -> None:
        await self.put(name, code, annotations=[KeyValue(key="conductor", value=True)])

    async def put_sequence(self, name: str, *components: str) -> None:
        listed = [f"/guest/{component}" for component in components]
        await self._put(name, Exec(kind="sequence", components=listed))

    async def _put(
        self, name: str, exec_: Exec, *, memory: int = 256, **fields: Any
    ) -> None:
        limits = ActionLimits(memory=memory)
        action = Action(
            namespace="guest", name=name, exec=exec_, limits=limits, **fields
        )
        await self.store.entities.put(action, code="")

    async def invoke(
        self, name: str, payload: Any = None, *, wait_ms: int = 5_000
    ) -> Any:
        return await self.engine.invoke(
            self.guest,
            action=FullName("guest", name),
            payload=json.dumps(payload or {}).encode(),
            blocking=True,
            wait_ms=wait_ms,
            transaction_id="tid",
        )

    async def kept(self) -> dict[str, ActivationRecord]:
        """All records by id, as often as they were written."""
        records = await self.store.activations.list("guest", limit=100_000)
        assert max(Counter(r.activation_id for r in records).values()) == 1
        return {record.activation_id: record for record in records}


def fills(stage: Stage, refusals: int) -> Code:
    """An action after which the queue is full for so many jobs."""

    def code(given: Any) -> Any:
        stage.pool.full = refusals
        return given

    return code


def result(record: ActivationRecord) -> Any:
    return json.loads(bytes(record.response.result))


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with Store(tmp_path / "data", StoreSettings()) as store:
        yield Stage(store, await store.subjects.ensure("guest"), limit=50)


def add(key: str) -> Code:
    return lambda given: {**given, key: len(given)}


# --- sequences ------------------------------------------------------------------------


async def test_b49_the_record_of_a_sequence(stage: Stage) -> None:
    await stage.put("a", add("a"))
    await stage.put("b", add("b"), memory=512)
    await stage.put_sequence("s", "a", "b")

    record = await stage.invoke("s", {"x": 1})

    kept = await stage.kept()
    assert result(record) == {"x": 1, "a": 1, "b": 2}
    assert record.logs == stage.pool.ran
    assert record.duration == 4
    assert record.annotation("topmost") is True
    assert record.annotation("kind") == "sequence"
    assert record.annotation("limits").memory == 512
    assert record.annotation("causedBy") is None
    for component in record.logs:
        assert kept[component].cause == record.activation_id
        assert kept[component].annotation("causedBy") == "sequence"


async def test_b48_parameters_of_the_sequence_do_not_reach_its_components(
    stage: Stage,
) -> None:
    await stage.put("a", add("a"), parameters=[KeyValue(key="k", value=1)])
    await stage.put_sequence("s", "a")

    assert result(await stage.invoke("s")) == {"k": 1, "a": 1}
    assert result(await stage.invoke("s", {"k": 2, "error": 0})) == {"error": 0}


async def test_b48_an_error_stops_a_sequence(stage: Stage) -> None:
    await stage.put("bad", lambda _: {"error": "no", "more": 1})
    await stage.put_sequence("s", "bad", "bad")

    record = await stage.invoke("s")

    assert record.response.status == "application error"
    assert result(record) == {"error": "no"}
    assert len(record.logs) == 1


async def test_b51_arrays_flow_through(stage: Stage) -> None:
    await stage.put("list", lambda _: [1, "b"])
    await stage.put(
        "same", lambda given: given, parameters=[KeyValue(key="k", value=1)]
    )
    await stage.put_sequence("s", "list", "same", "same")

    assert result(await stage.invoke("s")) == [1, "b"]


async def test_b47_a_component_that_is_gone_is_missed_when_its_turn_comes(
    stage: Stage,
) -> None:
    await stage.put("a", add("a"))
    await stage.put_sequence("s", "a", "gone")

    record = await stage.invoke("s")

    assert result(record) == {"error": "Sequence component does not exist."}
    assert len(record.logs) == 1


async def test_a91_components_are_those_of_the_start(stage: Stage) -> None:
    await stage.put("held", add("x"))
    await stage.put("a", add("a"))
    await stage.put_sequence("s", "held", "a")
    running = asyncio.create_task(stage.invoke("s"))
    while not stage.pool.held:
        await asyncio.sleep(0)
    await stage.put("a", add("a"), version="0.0.2")
    _end(stage.pool, {"h": 1})

    record = await running

    kept = await stage.kept()
    assert [kept[i].version for i in record.logs] == ["0.0.1", "0.0.1"]


@pytest.mark.parametrize("depth", [2, 45])
async def test_b50_sequences_in_sequences_have_records_of_their_own(
    stage: Stage, depth: int
) -> None:
    await stage.put("a", add("a"))
    names = ["a", *(f"s{n}" for n in range(depth))]
    for inner, outer in itertools.pairwise(names):
        await stage.put_sequence(outer, inner)

    record = await stage.invoke(names[-1])

    kept = await stage.kept()
    assert len(kept) == depth + 1
    assert record.annotation("topmost") is True
    (inner_id,) = record.logs
    assert kept[inner_id].annotation("topmost") is False
    assert kept[inner_id].cause == record.activation_id


async def test_b47_what_came_to_be_endless_ends(stage: Stage) -> None:
    await stage.put_sequence("one", "two")
    await stage.put_sequence("two", "one")

    record = await stage.invoke("one")

    assert result(record) == {"error": "Too many actions in the sequence."}


async def test_b47_the_limit_counts_what_nested_sequences_run(stage: Stage) -> None:
    await stage.put("a", add("a"))
    await stage.put_sequence("thirty", *["a"] * 30)
    await stage.put_sequence("sixty", "thirty", "thirty")

    record = await stage.invoke("sixty")

    assert result(record) == {"error": "Too many actions in the sequence."}
    assert len(stage.pool.ran) == 50


# --- waiting, refusals, stopping ------------------------------------------------------


async def test_b50_a_sequence_outlives_the_wait_of_its_caller(stage: Stage) -> None:
    await stage.put("held", add("x"))
    await stage.put_sequence("s", "held")

    answer = await stage.invoke("s", wait_ms=20)

    assert isinstance(answer, Accepted)
    assert stage.store.inbox.depth == 1
    _end(stage.pool, {"h": 1})
    await asyncio.sleep(0.01)
    assert result((await stage.kept())[answer.activation_id]) == {"h": 1}
    assert stage.store.inbox.depth == 0


async def test_a_full_queue_refuses_the_first_component_and_delays_the_others(
    stage: Stage,
) -> None:
    await stage.put("a", add("a"))
    await stage.put_sequence("s", "a", "a")
    stage.pool.full = 1
    with pytest.raises(Unavailable):
        await stage.invoke("s")

    stage.pool.code["a"] = fills(stage, 2)

    assert result(await stage.invoke("s", {"x": 1})) == {"x": 1}


async def test_a_stop_leaves_a_sequence_to_the_next_life(stage: Stage) -> None:
    await stage.put("a", fills(stage, 99))
    await stage.put_sequence("s", "a", "a")
    running = asyncio.create_task(stage.invoke("s"))
    while not stage.pool.full:
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    await stage.engine.stop()

    assert isinstance(await running, Accepted)
    assert stage.store.inbox.depth == 1


# --- compositions ---------------------------------------------------------------------


async def test_b60_the_record_of_a_composition(stage: Stage) -> None:
    await stage.put("a", add("a"), memory=512)
    await stage.put_conductor(
        "c",
        lambda p: {"params": p} if "st" in p else {"action": "a", "state": {"st": 1}},
    )

    record = await stage.invoke("c")

    assert result(record) == {"a": 0, "st": 1}
    assert record.logs == stage.pool.ran
    assert len(record.logs) == 3
    assert record.annotation("conductor") is True
    assert record.annotation("limits").memory == 512
    assert (record.response.size, record.duration) == (UNSET, 6)


async def test_b58_the_counts_are_shared_with_nested_compositions(stage: Stage) -> None:
    await stage.put_conductor("c", lambda _: {"action": "c"})

    record = await stage.invoke("c")

    assert result(record) == {"error": "Too many actions in the composition."}
    runs = [
        r for r in (await stage.kept()).values() if r.annotation("kind") != "sequence"
    ]
    assert len(runs) == 101


async def test_b59_what_cannot_be_run_is_told_to_the_conductor(stage: Stage) -> None:
    await stage.put_conductor(
        "c", lambda p: {"params": p} if "error" in p else {"action": p["next"]}
    )

    gone = await stage.invoke("c", {"next": "nosuch"})
    secret = await stage.invoke("c", {"next": "/whisk.system/priv/a"})

    assert result(gone) == {
        "error": "Failed to resolve action with name 'guest/nosuch' during composition."
    }
    assert result(secret)["error"].startswith(
        "Failed entitlement check for action with "
    )


# --- any nesting ----------------------------------------------------------------------

NAMES = ("s0", "s1", "s2", "c0", "c1", "ok", "bad")
NAME = st.sampled_from(NAMES)
SEQUENCES = st.lists(st.lists(NAME, min_size=1, max_size=4), min_size=3, max_size=3)
#: What a conductor asks for, run after run; then it finishes, or begins anew.
PLANS = st.lists(
    st.tuples(st.lists(NAME, min_size=1, max_size=4), st.booleans()),
    min_size=2,
    max_size=2,
)


def plan(names: list[str], forever: bool) -> Code:
    def conduct(given: Any) -> Any:
        step = given.get("step", 0)
        if step >= len(names) and not forever:
            return {"params": {"done": step}}
        return {"action": names[step % len(names)], "state": {"step": step + 1}}

    return conduct


@given(SEQUENCES, PLANS, st.sampled_from(NAMES[:5]))
@settings(max_examples=25, deadline=None)
def test_any_nesting_ends_and_every_component_has_one_record(
    sequences: list[list[str]], plans: list[tuple[list[str], bool]], start: str
) -> None:
    asyncio.run(_run_nesting(sequences, plans, start))


async def _run_nesting(
    sequences: list[list[str]], plans: list[tuple[list[str], bool]], start: str
) -> None:
    with TemporaryDirectory() as home:
        async with Store(Path(home) / "data", StoreSettings(records=100_000)) as store:
            stage = Stage(store, await store.subjects.ensure("guest"), limit=5)
            await stage.put("ok", lambda given: given)
            await stage.put("bad", lambda _: {"error": "bad"})
            for number, components in enumerate(sequences):
                await stage.put_sequence(f"s{number}", *components)
            for number, (names, forever) in enumerate(plans):
                await stage.put_conductor(f"c{number}", plan(names, forever))

            record = await stage.invoke(start)

            assert not isinstance(record, Accepted)
            _check_tree(record, await stage.kept(), ran=set(stage.pool.ran))


def _check_tree(
    record: ActivationRecord, kept: dict[str, ActivationRecord], *, ran: set[str]
) -> None:
    """The logs make one tree of all records; its leaves are what the pool has run."""
    seen = [record.activation_id]
    for activation_id in seen:
        found = kept[activation_id]
        is_composed = found.annotation("topmost") is not None
        assert is_composed is (activation_id not in ran)
        for component in found.logs if is_composed else []:
            assert kept[component].cause == activation_id
            seen.append(component)
    assert sorted(seen) == sorted(kept)


def _end(pool: CodePool, value: Any) -> None:
    ((_, future),) = pool.held.items()
    response = read_run(Answer(json.dumps(value).encode()), timeout_ms=1)
    future.set_result(
        Finished(
            response=response,
            start_ms=time.time_ns() // 1_000_000,
            wait_ms=0,
            run_ms=1,
            start=StartKind.WARM,
        )
    )
