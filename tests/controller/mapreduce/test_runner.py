"""Whole runs on nodes in memory that refuse, lose, repeat themselves, die and return."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.mapreduce.errors import (
    JobError,
    ReduceFailed,
    RunBusy,
    RunFailed,
    RunUnknown,
)
from controller.mapreduce.fake import FakeNode, work_of
from controller.mapreduce.job import Job
from controller.mapreduce.job_file import load_job
from controller.mapreduce.node import Failed, Lost, Outcome, Refused
from controller.mapreduce.patience import Patience
from controller.mapreduce.plan import Run, plan, plan_again, read_header
from controller.mapreduce.policy import LOSSES
from controller.mapreduce.progress import NodeState, Progress
from controller.mapreduce.results import read_results
from controller.mapreduce.run import execute

FleetOf = Callable[..., list[FakeNode]]
WriteJob = Callable[[str], Path]

SQUARES = {"squares": [n * n for n in range(20)]}


async def test_a_run_maps_over_all_nodes_and_reduces_in_order(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    nodes = fleet(3, seconds=0.005)
    report = await execute(run, nodes, patience=haste)
    assert report.result == SQUARES
    assert (report.chunks, report.retries, report.backups) == (20, 0, 0)
    assert sum(node.chunks for node in report.nodes) == 20
    assert all(node.chunks for node in report.nodes)
    assert sum(node.busy_s for node in report.nodes) == pytest.approx(20 * 0.005)
    assert all(node.items_per_s > 0 for node in report.nodes)


async def test_the_report_has_the_promised_form(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    report = (await execute(run, fleet(1), patience=haste)).as_json()
    assert list(report) == [
        "run", "result", "seconds", "chunks", "retries", "backups", "nodes",
    ]  # fmt: skip
    assert list(report["nodes"][0]) == [
        "name", "chunks", "busy_s", "items_per_s", "failures",
    ]  # fmt: skip
    assert json.loads((run.folder / "report.json").read_text()) == report


async def test_what_was_deployed_is_removed(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    seen: set[str] = set()

    def spy(_number: int, _arguments: bytes) -> None:
        seen.update(nodes[0].actions)

    nodes = fleet(2, plan=spy)
    await execute(run, nodes, patience=haste)
    assert seen == {run.action_name}
    assert [node.actions for node in nodes] == [{}, {}]


async def test_a_node_holds_more_than_its_slots_but_not_much(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    (node,) = fleet(1, capacity=2, seconds=0.2)
    node.seconds = 0.05
    await execute(run, [node], patience=haste)
    assert 2 < node.most <= 8


@pytest.mark.parametrize(
    "trouble", [Refused(), Refused(asked_s=0.01), Lost("whisk internal error")]
)
async def test_refused_and_lost_chunks_run_again(
    run: Run, fleet: FleetOf, haste: Patience, trouble: Outcome
) -> None:
    nodes = fleet(2, seconds=0.002)
    nodes[0].plan = lambda number, _: trouble if number % 3 == 0 else None
    report = await execute(run, nodes, patience=haste)
    assert report.result == SQUARES
    assert report.retries > 0
    assert report.nodes[0].failures == report.retries


async def test_an_application_error_ends_the_run_at_once(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    error = Failed("application error: no such file", "abc")

    def plan_(_number: int, arguments: bytes) -> Outcome | None:
        return error if json.loads(arguments)["number"] == 5 else None

    nodes = fleet(2, plan=plan_, seconds=0.005)
    with pytest.raises(RunFailed) as caught:
        await execute(run, nodes, patience=haste)
    text = str(caught.value)
    assert "chunk 5 failed: application error: no such file (activation abc on" in text
    assert f"of 20 map results are kept in {run.folder}" in text
    assert caught.value.exit_code == 1
    assert [node.actions for node in nodes] == [{}, {}]


async def test_a_chunk_that_is_lost_everywhere_ends_the_run(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    def plan_(_number: int, arguments: bytes) -> Outcome | None:
        return Lost("gone") if json.loads(arguments)["number"] == 5 else None

    nodes = fleet(2, plan=plan_)
    with pytest.raises(RunFailed, match=r"chunk 5 was lost too often; on node\d: gone"):
        await execute(run, nodes, patience=haste)
    assert sum(node.calls for node in nodes) == 19 + LOSSES


async def test_a_node_that_dies_leaves_its_chunks_to_the_others(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    nodes = fleet(3, seconds=0.02)

    def die(number: int, _arguments: bytes) -> Outcome | None:
        nodes[0].down = number >= 2
        return Lost("the connection broke") if nodes[0].down else None

    nodes[0].plan = die
    moments: list[Progress] = []
    report = await execute(run, nodes, patience=haste, on_progress=moments.append)
    assert report.result == SQUARES
    assert report.nodes[0].failures > 0
    assert moments[-1].nodes[0].state is NodeState.DOWN
    assert moments[-1].nodes[0].trouble == "node1 is down"


async def test_a_node_that_falls_silent_is_given_up(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    nodes = fleet(2, seconds=0.02)

    def fall_silent(_number: int, _arguments: bytes) -> None:
        nodes[0].down = True

    nodes[0].plan = fall_silent
    assert (await execute(run, nodes, patience=haste)).result == SQUARES


async def test_a_node_that_returns_without_its_actions_works_again(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    (node,) = fleet(1, seconds=0.02)

    def restart(number: int, _arguments: bytes) -> Outcome | None:
        if number != 3:
            return None
        node.down = True
        node.actions.clear()
        asyncio.get_running_loop().call_later(0.3, come_back)
        return Lost("the connection broke")

    def come_back() -> None:
        node.down = False

    node.plan = restart
    report = await execute(run, [node], patience=haste)
    assert report.result == SQUARES


async def test_a_node_that_joins_late_takes_part(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    nodes = fleet(2, seconds=0.05)
    nodes[1].down = True

    def wake(_number: int, _arguments: bytes) -> None:
        nodes[1].down = False

    nodes[0].plan = wake
    report = await execute(run, nodes, patience=haste)
    assert report.result == SQUARES
    assert report.nodes[1].chunks > 0


async def test_without_any_node_it_says_why(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    with pytest.raises(RunFailed, match="no node can be reached: node1: node1 is down"):
        await execute(run, fleet(1, down=True), patience=haste)


async def test_when_the_last_node_goes_the_results_are_kept(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    (node,) = fleet(1, seconds=0.01)

    def die(number: int, _arguments: bytes) -> None:
        node.down = number >= 6

    node.plan = die
    with pytest.raises(RunFailed, match=r"no node is left.*; \d+ of 20 map results"):
        await execute(run, [node], patience=haste)
    assert len(read_results(run.folder)) >= 6


async def test_nodes_that_refuse_the_job_say_why_once(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    nodes = fleet(3, unfit="memory size 9999 MB exceeds allowed threshold")
    with pytest.raises(RunFailed) as caught:
        await execute(run, nodes, patience=haste)
    told = "no node takes the job: node1, node2, node3: memory size 9999 MB exceeds"
    assert told in str(caught.value)


async def test_nodes_that_only_refuse_end_the_run(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    nodes = fleet(1, plan=lambda _number, _arguments: Refused())
    with pytest.raises(RunFailed, match="every node refuses"):
        await execute(run, nodes, patience=haste)


async def test_a_reduce_that_fails_leaves_the_map_results(
    write_job: WriteJob, tmp_path: Path, haste: Patience
) -> None:
    source = 'config = {"chunks": 7}\ndef action(p): return p\ndef reduce(r): 1/0\n'
    job = await asyncio.to_thread(load_job, write_job(source), settings={})
    run = plan(job, settings={}, out=tmp_path / "out")
    node = FakeNode("a", work_of(job.actions[""]))
    with pytest.raises(ReduceFailed) as caught:
        await execute(run, [node], patience=haste)
    text = str(caught.value)
    assert "job.py:3: reduce failed: ZeroDivisionError: division by zero; " in text
    assert text.endswith(f"7 of 7 map results are kept in {run.folder}")
    assert len((run.folder / "results.jsonl").read_text().splitlines()) == 7
    assert read_results(run.folder)[6] == {"index": 6}


async def test_arguments_that_fail_on_the_way_end_the_run(
    write_job: WriteJob, tmp_path: Path, haste: Patience
) -> None:
    source = (
        'config = {"chunks": 7}\ndef action(p): return p\ndef reduce(r): return r\n'
        "def args_for_action(i): return {'x': 1 // (3 - i)}\n"
    )
    job = await asyncio.to_thread(load_job, write_job(source), settings={})
    run = plan(job, settings={}, out=tmp_path / "out")
    node = FakeNode("a", work_of(job.actions[""]))
    with pytest.raises(JobError, match=r"job\.py:4: args_for_action\(3\) failed"):
        await execute(run, [node], patience=haste)
    assert node.actions == {}


async def test_an_interrupted_run_takes_its_actions_back(
    run: Run, fleet: FleetOf, haste: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = fleet(2, seconds=0.05)
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(execute(run, nodes, patience=haste))
        await asyncio.sleep(0.12)
        assert all(node.actions for node in nodes)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [node.actions for node in nodes] == [{}, {}]
    assert f"of 20 map results are kept in {run.folder}" in caplog.text


async def test_without_out_a_finished_run_leaves_its_reports_only(
    squares: Job,
    fleet: FleetOf,
    haste: Patience,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    run = plan(squares, settings={}, out=None)
    assert run.folder.is_relative_to(tmp_path / "data")
    await execute(run, fleet(1), patience=haste)
    left = sorted(file.name for file in run.folder.iterdir())
    assert left == ["details.json", "report.json", "run.json"]


async def test_a_folder_that_cannot_be_written_is_told(
    squares: Job, fleet: FleetOf, haste: Patience, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    run = plan(squares, settings={}, out=tmp_path / "file" / "out")
    with pytest.raises(RunFailed, match="cannot be written: Not a directory"):
        await execute(run, fleet(1), patience=haste)


async def test_a_disk_that_fills_ends_the_run(
    squares: Job, fleet: FleetOf, haste: Patience, tmp_path: Path
) -> None:
    run = plan(squares, settings={}, out=tmp_path / "out")
    run.folder.mkdir()
    (run.folder / "results.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunFailed, match="cannot be written: No space left on device"):
        await execute(run, fleet(1, seconds=0.01), patience=haste)


async def test_progress_adds_up(run: Run, fleet: FleetOf, haste: Patience) -> None:
    moments: list[Progress] = []
    await execute(
        run, fleet(2, seconds=0.02), patience=haste, on_progress=moments.append
    )
    completed = [moment.completed for moment in moments]
    assert completed == sorted(completed)
    last = moments[-1]
    assert (last.completed, last.chunks, last.items) == (20, 20, 200)
    assert sum(node.chunks for node in last.nodes) == 20
    assert moments[0].seconds_left is None or moments[0].seconds_left >= 0


async def test_an_interrupt_as_a_node_goes_still_ends_the_run(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    (node,) = fleet(1, seconds=0.01)

    def go_and_interrupt(_number: int, _arguments: bytes) -> Outcome:
        node.down = True
        task.cancel()
        return Lost("the connection broke")

    node.plan = go_and_interrupt
    task = asyncio.create_task(execute(run, [node], patience=haste))
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await task


# --- runs that are gone on with -------------------------------------------------------


async def test_a_run_is_gone_on_with_without_computing_anything_twice(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    (first,) = fleet(1, seconds=0.02)
    first.plan = lambda number, _: Failed("oh", "x") if number == 8 else None
    with pytest.raises(RunFailed):
        await execute(run, [first], patience=haste)
    before = len(read_results(run.folder))
    assert 5 <= before < 20
    with (run.folder / "results.jsonl").open("ab") as torn:
        torn.write(b'{"chunk":19,"count":1,"node":"a","act')
    header = await asyncio.to_thread(read_header, run.folder)
    again = plan_again(run.job, run.folder, header)
    nodes = fleet(2, seconds=0.005)
    report = await execute(again, nodes, patience=haste)
    assert report.result == SQUARES
    assert sum(node.calls for node in nodes) == 20 - before
    assert (report.run, report.chunks) == (run.id, 20)
    assert sum(node.chunks for node in report.nodes) == 20


async def test_a_run_whose_map_was_done_is_only_reduced(
    write_job: WriteJob, tmp_path: Path, haste: Patience
) -> None:
    source = 'config = {"chunks": 7}\ndef action(p): return p\ndef reduce(r): 1/0\n'
    job = await asyncio.to_thread(load_job, write_job(source), settings={})
    run = plan(job, settings={}, out=tmp_path / "out")
    with pytest.raises(ReduceFailed):
        await execute(run, [FakeNode("a")], patience=haste)
    mended = source.replace("1/0", "return len(r)")
    job = await asyncio.to_thread(load_job, write_job(mended), settings={})
    node = FakeNode("a")
    header = await asyncio.to_thread(read_header, run.folder)
    again = plan_again(job, run.folder, header)
    report = await execute(again, [node], patience=haste)
    assert (report.result, node.calls) == (7, 0)


async def test_other_inputs_are_another_run(
    squares: Job, run: Run, fleet: FleetOf, haste: Patience
) -> None:
    await execute(run, fleet(1), patience=haste)
    header = await asyncio.to_thread(read_header, run.folder)
    path = squares.path
    other = await asyncio.to_thread(load_job, path, settings={"chunks": "21"})
    with pytest.raises(RunUnknown, match="are not what they were"):
        plan_again(other, run.folder, header)


async def test_two_processes_do_not_work_on_one_run(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    task = asyncio.create_task(execute(run, fleet(1, seconds=0.05), patience=haste))
    await asyncio.sleep(0.1)
    with pytest.raises(RunBusy, match="another process works on this run"):
        await execute(run, fleet(1), patience=haste)
    assert (await task).result == SQUARES


# --- errors that are tried again, nodes that are found ---------------------------------


async def test_an_application_error_is_tried_again_when_asked(
    squares: Job, fleet: FleetOf, haste: Patience, tmp_path: Path
) -> None:
    failures: list[int] = []

    def plan_(number: int, arguments: bytes) -> Outcome | None:
        if json.loads(arguments)["number"] != 5 or len(failures) == 2:
            return None
        failures.append(number)
        return Failed("application error: flaky", "x")

    job = dataclasses.replace(squares, retry_errors=2)  # type: ignore[type-var]
    run = plan(job, settings={}, out=tmp_path / "out")
    report = await execute(run, fleet(2, plan=plan_), patience=haste)
    assert report.result == SQUARES
    assert report.retries == 2


async def test_a_node_that_is_found_on_the_way_takes_part(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    known, new = fleet(2, seconds=0.06)

    async def find() -> list[FakeNode]:
        return [known, new] if known.calls > 3 else [known]

    patience = dataclasses.replace(haste, find_s=0.02)
    report = await execute(run, [known], find=find, patience=patience)
    assert report.result == SQUARES
    assert [node.name for node in report.nodes] == ["node1", "node2"]
    assert report.nodes[1].chunks > 0
    assert new.actions == {}


async def test_the_run_leaves_a_picture_and_its_details(
    run: Run, fleet: FleetOf, haste: Patience
) -> None:
    report = await execute(run, fleet(2, seconds=0.01), patience=haste)
    details = json.loads((run.folder / "details.json").read_text())
    assert 0 < details["efficiency"] <= 1
    assert [node["slots"] for node in details["nodes"]] == [2, 2]
    assert all(0 < node["busy_share"] <= 1 for node in details["nodes"])
    picture = (run.folder / "run.svg").read_text()
    assert picture.count("<rect") >= 1 + 4
    assert report.run in picture
