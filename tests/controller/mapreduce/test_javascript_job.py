from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.mapreduce.errors import JobError, ReduceFailed
from controller.mapreduce.job import Job
from controller.mapreduce.job_file import load_job

WriteJob = Callable[..., Path]

pytestmark = pytest.mark.node

#: As people wrote them for Serverless-Supercomputing: sloppy globals, a reduce that prints.
OLD = """
const COUNT = 4;
var configs = {
  "namespace": "_", "actionName": "count words", "numActions": COUNT,
  "actionLimits": {"timeout": 60000, "memory": 256, "logs": 10}
};
function main(params) {
  undeclared = params['words'] * 2;
  return {found: undeclared};
}
function argsForAction(n) { args = {words: n}; return args; }
function total(results) {
  var sum = 0;
  for (var i = 0; i < results.length; i++) {
    console.log("Action " + (i + 1) + ": " + JSON.stringify(results[i]));
    sum += results[i]['found'];
  }
  console.log("Sum: " + sum);
}
exports.configs = configs;
exports.action = main;
exports.argsForAction = argsForAction;
exports.reduce = total;
"""


def run_action(job: Job, arguments: dict[str, object]) -> object:
    """Run the sent text as a runtime does: a script in which `main` is looked up."""
    call = f"console.log(JSON.stringify(main({json.dumps(arguments)})))"
    code = json.dumps(job.actions[""].code)
    script = f"eval({code} + ';' + {json.dumps(call)})"
    ended = subprocess.run(
        ["node", "-e", script], capture_output=True, check=True, timeout=10
    )
    return json.loads(ended.stdout)


def load(write_job: WriteJob, source: str, **settings: str) -> Job:
    return load_job(write_job(source, "job.js"), settings=settings)


def test_an_old_job_file_is_read_unchanged(write_job: WriteJob) -> None:
    job = load(write_job, OLD)
    assert (job.name, job.units, job.items) == ("count words", 4, None)
    assert json.loads(job.invocation(3, 1).arguments) == {"words": 3}
    assert job.actions[""].limits == {"timeout": 60000, "memory": 256, "logs": 10}
    assert job.actions[""].code.startswith("function main(params)")
    assert run_action(job, {"words": 21}) == {"found": 42}


def test_a_reduce_that_only_prints_has_its_text_as_value(write_job: WriteJob) -> None:
    reduced = load(write_job, OLD).reduce([{"found": 2}, {"found": 3}])
    assert reduced.value.splitlines()[-1] == "Sum: 5"
    assert reduced.printed == reduced.value


@pytest.mark.parametrize(
    "action",
    [
        "function main(p) { return {y: p.x + 1}; }",
        "function other(p) { return {y: p.x + 1}; }",
        "function (p) { return {y: p.x + 1}; }",
        "(p) => ({y: p.x + 1})",
        "{ action(p) { return {y: p.x + 1}; } }.action",
    ],
)
def test_an_action_is_found_as_main_however_it_is_written(
    write_job: WriteJob, action: str
) -> None:
    source = f"""
const action = ({action.removesuffix(".action")});
module.exports = {{
  configs: {{numActions: 1}}, reduce: (r) => r,
  action: typeof action === "function" ? action : action.action,
}};
"""
    assert run_action(load(write_job, source), {"x": 1}) == {"y": 2}


def test_settings_change_configs_before_the_arguments(write_job: WriteJob) -> None:
    source = """
exports.configs = {numActions: 2, points: 10};
exports.action = function main(p) { return p; };
exports.argsForAction = (i) => ({share: exports.configs.points / 2});
exports.reduce = async (r) => ({points: exports.configs.points, results: r});
"""
    job = load(write_job, source, points="1e3", numActions="3")
    assert job.units == 3
    assert json.loads(job.invocation(2, 1).arguments) == {"share": 500}
    assert job.reduce([{}]).value == {"points": 1000, "results": [{}]}


EXPORTS = "exports.action = (p) => p; exports.reduce = (r) => r;\n"


@pytest.mark.parametrize(
    ("source", "line", "told"),
    [
        ("function (\n", 1, "SyntaxError"),
        ("\n\nthrow new Error('no way')\n", 3, "Error: no way"),
        ("exports.reduce = (r) => r", None, "exports no function 'action'"),
        ("exports.action = (r) => r", None, "exports no function 'reduce'"),
        (EXPORTS, None, "exports no 'configs'"),
        (EXPORTS + "exports.configs = {}", None, "configs has no 'numActions'"),
        (EXPORTS + "exports.configs = {numActions: 0}", None, "from 1 to"),
        (EXPORTS + "exports.configs = {numActions: 1e9}", None, "from 1 to"),
        (EXPORTS + "exports.configs = {numActions: 'x'}", None, "is a whole number"),
        (
            EXPORTS + "exports.configs = {numActions: 2};\n"
            "exports.argsForAction = (i) => i.x.y;\n",
            3,
            "TypeError",
        ),
        (
            EXPORTS + "exports.configs = {numActions: 2};\n"
            "exports.argsForAction = (i) => [i];\n",
            None,
            "argsForAction(0) gave no object",
        ),
        (
            EXPORTS + "exports.configs = {numActions: 2}; exports.argsForAction = 3",
            None,
            "exports no function 'argsForAction'",
        ),
    ],
)
def test_a_bad_job_is_one_line_with_its_place(
    write_job: WriteJob, source: str, line: int | None, told: str
) -> None:
    with pytest.raises(JobError) as caught:
        load(write_job, source)
    text = str(caught.value)
    assert f"job.js:{line}: " in text if line else "job.js: " in text
    assert told in text
    assert "\n" not in text


def test_a_job_that_ends_node_is_told(write_job: WriteJob) -> None:
    with pytest.raises(JobError, match="node gave up"):
        load(write_job, "process.exit(3)")


def test_a_reduce_that_throws_is_told_with_its_line(write_job: WriteJob) -> None:
    source = "exports.configs = {numActions: 1}; exports.action = (p) => p;\n"
    source += "exports.reduce = (r) => {\n  throw new RangeError('too far');\n};\n"
    with pytest.raises(
        ReduceFailed, match=r"job\.js:3: reduce failed: RangeError: too"
    ):
        load(write_job, source).reduce([])


def test_without_node_it_says_how_to_get_it(
    write_job: WriteJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JobError, match="apt-get install nodejs"):
        load(write_job, OLD)
