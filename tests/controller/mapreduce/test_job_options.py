"""What a job may say besides the four exports; both languages, one behaviour."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.mapreduce.errors import JobError
from controller.mapreduce.fake import FakeNode
from controller.mapreduce.job import Job
from controller.mapreduce.job_file import load_job
from controller.mapreduce.patience import Patience
from controller.mapreduce.plan import plan
from controller.mapreduce.progress import Report
from controller.mapreduce.run import execute

WriteJob = Callable[..., Path]

WITH_INPUTS = """
inputs = range(100)
def action(params): return {"seen": params["inputs"]}
def reduce(results): return [n for result in results for n in result["seen"]]
"""
WITH_COMBINE = """
config = {"chunks": 60}
def action(params): return {"sum": params["index"], "of": 1}
def combine(results):
    return {key: sum(result[key] for result in results) for key in ("sum", "of")}
def reduce(results): return {**combine(results), "results": len(results)}
"""
WITH_ACTIONS = """
config = {"chunks": 10}
def twice(params): return {"n": 2 * params["index"]}
def negated(params): return {"n": -params["index"]}
actions = {"double": twice, "negate": negated}
def action_for(index): return "double" if index < 5 else "negate"
def reduce(results): return [result["n"] for result in results]
"""


def loaded(write_job: WriteJob, source: str, name: str = "job.py") -> Job:
    return load_job(write_job(source, name), settings={})


def run_on_a_node(job: Job, tmp_path: Path, haste: Patience) -> Report:
    run = plan(job, settings={}, out=tmp_path / "out")
    return asyncio.run(execute(run, [FakeNode("a", seconds=0.01)], patience=haste))


def test_inputs_go_out_in_groups_and_come_back_in_order(
    write_job: WriteJob, tmp_path: Path, haste: Patience
) -> None:
    job = loaded(write_job, WITH_INPUTS)
    assert (job.units, job.grouped, job.by_inputs) == (100, True, True)
    report = run_on_a_node(job, tmp_path, haste)
    assert report.result == list(range(100))
    assert 1 < report.chunks < 100


def test_arguments_may_be_made_of_the_inputs(write_job: WriteJob) -> None:
    source = WITH_INPUTS + "def args_for_action(inputs): return {'n': sum(inputs)}\n"
    job = loaded(write_job, source)
    invocation = job.invocation(1, 3)
    assert invocation is not None
    assert json.loads(invocation.arguments) == {"n": 6}


def test_inputs_may_be_a_function_or_a_setting(
    write_job: WriteJob, tmp_path: Path
) -> None:
    function = WITH_INPUTS.replace(
        "inputs = range(100)", "def inputs(): yield from 'ab'"
    )
    assert loaded(write_job, function).units == 2
    (tmp_path / "lines.txt").write_text("a\nb\nc\n")
    source = WITH_INPUTS.replace("inputs = range(100)", "config = {'inputs': ''}")
    path = write_job(source)
    assert load_job(path, settings={"inputs": "lines.txt"}).units == 3


def test_a_combine_runs_where_the_chunks_do(
    write_job: WriteJob, tmp_path: Path, haste: Patience
) -> None:
    job = loaded(write_job, WITH_COMBINE)
    assert (job.units, job.grouped, job.by_inputs) == (60, True, False)
    report = run_on_a_node(job, tmp_path, haste)
    assert (report.result["sum"], report.result["of"]) == (sum(range(60)), 60)
    assert report.result["results"] < 60
    assert report.chunks == sum(node.chunks for node in report.nodes) == 60


def test_each_chunk_may_have_another_action(
    write_job: WriteJob, tmp_path: Path, haste: Patience
) -> None:
    job = loaded(write_job, WITH_ACTIONS)
    assert {name: action.main for name, action in job.actions.items()} == {
        "double": "twice",
        "negate": "negated",
    }
    report = run_on_a_node(job, tmp_path, haste)
    assert report.result == [0, 2, 4, 6, 8, -5, -6, -7, -8, -9]


def test_requirements_make_the_action_an_archive(
    write_job: WriteJob, tmp_path: Path
) -> None:
    source = 'config = {"chunks": 1, "requirements": ["six>=1.16", "idna"]}\n'
    source += "def action(p): return p\ndef reduce(r): return r\n"
    action = loaded(write_job, source).actions[""]
    assert action.binary
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(action.code))) as archive:
        assert archive.read("__main__.py").decode() == source
        assert archive.read("requirements.txt") == b"six>=1.16\nidna\n"
    again = loaded(write_job, source).actions[""]
    assert again.code == action.code, "or every run would install anew"
    (tmp_path / "needs.txt").write_text("# comment\nsix>=1.16\n\n")
    named = source.replace('["six>=1.16", "idna"]', '"needs.txt"')
    with zipfile.ZipFile(
        io.BytesIO(base64.b64decode(loaded(write_job, named).actions[""].code))
    ) as archive:
        assert archive.read("requirements.txt") == b"six>=1.16\n"


FOUR = "def action(p): return p\ndef reduce(r): return r\n"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "config = {'chunks': 1, 'retry_errors': -1}\n" + FOUR,
            "'retry_errors' is from",
        ),
        (
            "config = {'chunks': 1, 'requirements': 5}\n" + FOUR,
            "'requirements' is a list",
        ),
        ("config = {'chunks': 1, 'requirements': 'no.txt'}\n" + FOUR, "cannot be read"),
        ("inputs = [1]\ndef combine(r): return r\n" + FOUR, "'combine' goes with one"),
        ("inputs = []\n" + FOUR, "there are no inputs"),
        ("def inputs(): return 1 / 0\n" + FOUR, r"job\.py:1: inputs\(\) failed: Zero"),
        ("config = {'chunks': 1}\nactions = {}\n" + FOUR, "'actions' is a dict of"),
        (
            "config = {'chunks': 1}\ndef a(p): return p\nactions = {'a': a}\n" + FOUR,
            "has 'actions' but no function 'action_for'",
        ),
        (
            "config = {'chunks': 1}\nactions = {'a': len}\n"
            "def action_for(i): return 'a'\n" + FOUR,
            "'actions': 'a' is no function of this file",
        ),
        (
            WITH_ACTIONS.replace('"double" if', '"treble" if'),
            "gave 'treble'; there are",
        ),
    ],
)
def test_options_that_cannot_be_are_told(
    write_job: WriteJob, source: str, told: str
) -> None:
    with pytest.raises(JobError, match=told):
        loaded(write_job, source)


# --- JavaScript ---------------------------------------------------------------------


@pytest.mark.node
def test_javascript_has_inputs_combine_and_actions_too(write_job: WriteJob) -> None:
    inputs = "exports.configs = {}; exports.inputs = ['a', 'b'];\n"
    both = "exports.action = (p) => p;\nexports.reduce = (r) => r;\n"
    job = loaded(write_job, inputs + both, "inputs.js")
    assert (job.units, job.by_inputs) == (2, True)
    found = job.invocation(0, 2)
    assert found is not None
    assert json.loads(found.arguments) == {"inputs": ["a", "b"]}
    combined = "exports.configs = {numActions: 9}; exports.combine = (r) => r[0];\n"
    job = loaded(write_job, combined + both, "combine.js")
    assert job.grouped
    found = job.invocation(2, 2)
    assert found is not None
    assert json.loads(found.arguments) == {"chunks": [{}, {}]}
    assert "async function main(params)" in job.actions[""].code
    named = "exports.configs = {numActions: 3}; exports.reduce = (r) => r;\n"
    named += "exports.actions = {a: (p) => p, b(p) { return p; }};\n"
    named += "exports.actionFor = (i) => 'ab'[i % 2];\n"
    job = loaded(write_job, named, "named.js")
    names = [found.action for n in range(3) if (found := job.invocation(n, 1))]
    assert Counter(names) == {"a": 2, "b": 1}
    assert all("main" in action.code for action in job.actions.values())


@pytest.mark.node
@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "exports.configs = {numActions: 1, inputs: 'none.csv'};",
            r"none\.csv: No such",
        ),
        (
            "exports.configs = {}; exports.inputs = [1]; exports.combine = 5;",
            "'combine'",
        ),
        (
            """exports.configs = {numActions: 1}; exports.actions = {a: (p) => p};
               exports.actionFor = (i) => 'z';""",
            r"actionFor\(0\) gave 'z'; there are: a",
        ),
    ],
)
def test_javascript_options_that_cannot_be_are_told(
    write_job: WriteJob, source: str, told: str
) -> None:
    both = "exports.action = (p) => p;\nexports.reduce = (r) => r;\n"
    with pytest.raises(JobError, match=told):
        loaded(write_job, both + source, "job.js")
