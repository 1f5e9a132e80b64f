from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.mapreduce.errors import JobError, ReduceFailed
from controller.mapreduce.fake import work_of
from controller.mapreduce.job_file import load_job

WriteJob = Callable[[str], Path]

SQUARES = """
config = {"chunks": 20, "offset": 0, "items": "seen"}

def args_for_action(index):
    return {"number": index + config["offset"]}

def action(params):
    return {"square": params["number"] ** 2, "seen": 10}

def reduce(results):
    return {"squares": [result["square"] for result in results]}
"""


def test_a_job_says_what_to_run_and_with_what(write_job: WriteJob) -> None:
    job = load_job(write_job(SQUARES), settings={})
    assert (job.name, job.units, job.items) == ("job", 20, "seen")
    assert json.loads(job.invocation(3, 1).arguments) == {"number": 3}
    assert job.actions[""].kind == "python:default"
    assert job.actions[""].main == "action"


def test_the_action_has_its_imports_helpers_and_constants(write_job: WriteJob) -> None:
    source = """
import math
SCALE = 10
config = {"chunks": 1}
def helper(x): return math.floor(x) * SCALE
def action(params): return {"y": helper(params["index"] + 1.5)}
def reduce(results): return results
"""
    job = load_job(write_job(source), settings={})
    assert work_of(job.actions[""])(b'{"index": 2}') == b'{"y":30}'


def test_settings_reach_the_arguments_and_the_action_alike(write_job: WriteJob) -> None:
    source = SQUARES.replace('"seen": 10', '"seen": config["offset"]')
    job = load_job(write_job(source), settings={"offset": "1e2", "chunks": "3"})
    assert job.units == 3
    arguments = job.invocation(1, 1).arguments
    assert json.loads(arguments) == {"number": 101}
    assert json.loads(work_of(job.actions[""])(arguments)) == {
        "square": 10201,
        "seen": 100,
    }


def test_without_args_for_action_a_chunk_gets_its_number(write_job: WriteJob) -> None:
    source = 'config={"chunks": 2}\ndef action(p): return p\ndef reduce(r): return r\n'
    assert (
        load_job(write_job(source), settings={}).invocation(1, 1).arguments
        == b'{"index":1}'
    )


def test_reduce_gets_the_results_in_order_and_may_print(write_job: WriteJob) -> None:
    source = SQUARES.replace("    return {", '    print("adding")\n    return {')
    job = load_job(write_job(source), settings={})
    reduced = job.reduce([{"square": 1}, {"square": 4}])
    assert reduced.value == {"squares": [1, 4]}
    assert reduced.printed == "adding\n"


def test_a_reduce_that_only_prints_has_its_text_as_value(write_job: WriteJob) -> None:
    source = 'config={"chunks": 1}\ndef action(p): return p\n'
    job = load_job(write_job(source + 'def reduce(r): print("pi")\n'), settings={})
    assert job.reduce([]).value == "pi\n"


BODY = "def action(p): return p\ndef reduce(r): return r\n"
CONFIG = 'config = {"chunks": 2}\n'


@pytest.mark.parametrize(
    ("source", "line", "told"),
    [
        ("def action(:\n", 1, "syntax error: invalid syntax"),
        (CONFIG + "def reduce(r): return r\n", None, "has no function 'action'"),
        (CONFIG + "def action(p): return p\n", None, "has no function 'reduce'"),
        (CONFIG + BODY + "reduce = 3\n", None, "'reduce' is not a function"),
        (CONFIG + "def action(): pass\n", 2, "'action' must take 1 argument"),
        ("config = 3\n" + BODY, None, "'config' is a dict"),
        (BODY, None, "config has no 'chunks'"),
        (CONFIG + "import nowhere_to_be_found\n", 2, "ModuleNotFoundError"),
        (CONFIG + "\n\n1/0\n", 4, "ZeroDivisionError: division by zero"),
        (CONFIG + "raise SystemExit(3)\n", 2, "SystemExit: 3"),
        ('config = {"chunks": 0}\n' + BODY, None, "'chunks' is from 1 to"),
        ('config = {"chunks": "4"}\n' + BODY, None, "'chunks' is a whole number"),
        ('config = {"chunks": True}\n' + BODY, None, "'chunks' is a whole number"),
        (
            'config = {"chunks": 1, "limits": {"cpu": 1}}\n' + BODY,
            None,
            "no limit 'cpu'",
        ),
        (
            'config = {"chunks": 1, "limits": {"memory": "x"}}\n' + BODY,
            None,
            "'limits.memory' is a whole number",
        ),
        (
            'config = {"chunks": 1, "items": 3}\n' + BODY,
            None,
            "'items' names a field",
        ),
        (
            CONFIG + BODY + "def args_for_action(i):\n    return [i]\n",
            None,
            "args_for_action(0) gave list, not a dict",
        ),
        (
            CONFIG + BODY + "def args_for_action(i):\n    return {'a': object()}\n",
            None,
            "args_for_action(0) is not JSON",
        ),
        (
            CONFIG + BODY + "def args_for_action(i):\n    return {}[i]\n",
            5,
            "args_for_action(0) failed: KeyError: 0",
        ),
    ],
)
def test_a_bad_job_is_one_line_with_its_place(
    write_job: WriteJob, source: str, line: int | None, told: str
) -> None:
    path = write_job(source)
    with pytest.raises(JobError) as caught:
        load_job(path, settings={})
    text = str(caught.value)
    place = f"{path}:{line}: " if line else f"{path}: "
    assert text.startswith(place)
    assert told in text
    assert "\n" not in text
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_job_is_told(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="there is no such file"):
        load_job(tmp_path / "none.py", settings={})
    (tmp_path / "job.txt").write_text("")
    with pytest.raises(JobError, match=r"a job is a \.py or a \.js file"):
        load_job(tmp_path / "job.txt", settings={})
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    with pytest.raises(JobError, match="cannot be read"):
        load_job(tmp_path / "latin.py", settings={})


def test_an_unknown_setting_is_told(write_job: WriteJob) -> None:
    with pytest.raises(JobError, match="no setting 'x'"):
        load_job(write_job(SQUARES), settings={"x": "1"})


def test_a_reduce_that_fails_is_told_with_its_line(write_job: WriteJob) -> None:
    job = load_job(write_job(SQUARES), settings={})
    with pytest.raises(ReduceFailed, match=r"job\.py:11: reduce failed: KeyError"):
        job.reduce([{}])


def test_a_reduce_without_json_is_told(write_job: WriteJob) -> None:
    source = CONFIG + "def action(p): return p\ndef reduce(r): return object()\n"
    job = load_job(write_job(source), settings={})
    with pytest.raises(ReduceFailed, match="reduce failed: TypeError"):
        job.reduce([])
