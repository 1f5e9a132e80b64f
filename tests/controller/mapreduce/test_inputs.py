from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.mapreduce.errors import JobError
from controller.mapreduce.inputs import MOST_BYTES, read_inputs


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return tmp_path / "job.py"


def all_of(job: Path, given: Any) -> Any:
    inputs = read_inputs(job, given)
    return json.loads(inputs.text(0, len(inputs)))


def test_any_iterable_of_json_will_do(job: Path) -> None:
    assert all_of(job, [1, "a", {"b": [None]}]) == [1, "a", {"b": [None]}]
    assert all_of(job, (n * n for n in range(4))) == [0, 1, 4, 9]
    inputs = read_inputs(job, range(100))
    assert (len(inputs), inputs.text(10, 3)) == (100, b"[10,11,12]")


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.txt", "one\ntwo\r\n\nfour", ["one", "two", "", "four"]),
        (
            "a.csv",
            'n,s\n1,"a,\nb"\n2,c\n',
            [{"n": "1", "s": "a,\nb"}, {"n": "2", "s": "c"}],
        ),
        ("a.jsonl", '{"x": 1}\n[2]\n', [{"x": 1}, [2]]),
    ],
)
def test_a_file_beside_the_job_will_do(
    job: Path, name: str, text: str, found: list[Any]
) -> None:
    job.with_name(name).write_text(text, newline="")
    assert all_of(job, name) == found


def failing() -> Iterator[int]:
    yield 1
    raise LookupError("no more")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nowhere.csv", r"inputs: .*nowhere\.csv: No such file"),
        ("bad.jsonl", r"inputs: .*bad\.jsonl:2: JSON is malformed"),
        (17, "'inputs' is an iterable, or the name of a file"),
        ({"a": 1}, "'inputs' is an iterable"),
        ([], "there are no inputs"),
        ([1, {2, 3}, object()], "input 2 is not JSON"),
        (["x" * (MOST_BYTES + 1)], f"input 0 is longer than {MOST_BYTES} bytes"),
        (failing(), "inputs failed: LookupError: no more"),
    ],
)
def test_inputs_that_cannot_be_are_told(job: Path, given: Any, told: str) -> None:
    job.with_name("bad.jsonl").write_text("1\n{]\n")
    with pytest.raises(JobError, match=told):
        read_inputs(job, given)


def test_as_many_fit_as_an_invocation_takes(job: Path) -> None:
    inputs = read_inputs(job, ["x" * 300_000] * 7)
    assert inputs.fits(0, 7) == 2
    assert inputs.fits(5, 1) == 1
    assert read_inputs(job, range(10)).fits(3, 7) == 7
    huge = read_inputs(job, ["x" * (MOST_BYTES - 2)] * 2)
    assert huge.fits(0, 2) == 1
