"""Node.js actions: rows C37-C42 of the contract."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.model.activations import Cause
from edge_agent.sandbox.interpreters import LAUNCHERS

if TYPE_CHECKING:
    from edge_agent.sandbox.base import Ran
    from edge_agent.sandbox.proxy import ProcessSandbox
    from tests.edge_agent.sandbox.conftest import Bench

pytestmark = pytest.mark.node

NO_RESULT = "The action did not return a dictionary or array."


async def _ready(bench: Bench, code: str, **more: Any) -> ProcessSandbox:
    return await bench.ready(code, family="nodejs", **more)


async def _once(bench: Bench, code: str, value: Any = None, **more: Any) -> Any:
    return await bench.once(code, value, family="nodejs", **more)


async def _run(bench: Bench, code: str, value: Any = None) -> Ran:
    return await bench.run(await _ready(bench, code), value)


@pytest.mark.parametrize(
    ("code", "main"),
    [
        ("function main (args) { return args }", "main"),
        ("const main = args => args // the end", "main"),
        ("async function main (args) { return args }", "main"),
        ("module.exports.main = args => args", "main"),
        ("exports.other = args => Promise.resolve(args)", "other"),
        (
            "function greet (args) { return new Promise(done => setTimeout(done, 5, args)) }",
            "greet",
        ),
        ("x = 1; undeclared = 2; function main (args) { return args }", "main"),
    ],
)
async def test_c37_main_is_found_and_answers(
    bench: Bench, code: str, main: str
) -> None:
    value = {"text": 'ünï \u2028 "quoted" \n', "n": [1.5, None]}
    assert await _once(bench, code, value, main=main) == value


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return", {}),
        ("return undefined", {}),
        ("return [1, 2]", [1, 2]),
        ("return Promise.resolve()", {}),
        ("return Promise.reject()", {"error": {}}),
        ("return Promise.reject('why')", {"error": "why"}),
        ("return Promise.reject({ code: 5 })", {"error": {"code": 5}}),
    ],
)
async def test_c41_results_and_rejections_are_read_as_the_runtime_does(
    bench: Bench, body: str, expected: Any
) -> None:
    assert await _once(bench, f"function main () {{ {body} }}") == expected


async def test_a_rejected_error_keeps_its_name_and_message(bench: Bench) -> None:
    code = (
        "async function main () { throw Object.assign(new TypeError('no'), { n: 1 }) }"
    )
    error = (await _once(bench, code))["error"]
    assert error["name"] == "TypeError"
    assert error["message"] == "no"
    assert error["n"] == 1
    assert "TypeError: no" in error["stack"]


async def test_c41_a_synchronous_throw_is_a_developer_error(bench: Bench) -> None:
    ran = await _run(bench, "function main () { throw new Error('boom') }")
    assert bench.refusal(ran) == "An error has occurred: Error: boom"


@pytest.mark.parametrize("value", ["5", "'text'", "true", "null", "() => 1"])
async def test_c41_a_result_that_is_no_object_is_refused(
    bench: Bench, value: str
) -> None:
    ran = await _run(bench, f"function main () {{ return {value} }}")
    assert bench.refusal(ran) == NO_RESULT


async def test_a_result_that_goes_in_circles_says_so(bench: Bench) -> None:
    ran = await _run(bench, "function main () { const a = {}; a.a = a; return a }")
    assert "circular" in bench.refusal(ran)


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("function main ( {", "SyntaxError"),
        ("nothingLikeIt()", "ReferenceError"),
        ("const main = 5", "Action entrypoint 'main' is not a function."),
        ("const x = 5", "Action entrypoint 'main' is not a function."),
        ("", "Missing main/no code to execute."),
        ("require('nothing-like-it')", "Cannot find module"),
    ],
)
async def test_c40_code_that_cannot_start_is_refused_at_init(
    bench: Bench, code: str, detail: str
) -> None:
    ran = await bench.refused(code, family="nodejs")
    text = bench.refusal(ran)
    assert text.startswith("Initialization has failed due to: ")
    assert detail in text


async def test_c42_variables_of_init_and_run_are_in_the_environment(
    bench: Bench,
) -> None:
    sandbox = await _ready(
        bench, "function main () { return process.env }", env={"K": "v"}
    )
    first = bench.result(await bench.run(sandbox, context={"activation_id": "1"}))
    again = bench.result(await bench.run(sandbox, context={"activation_id": "2"}))
    assert first["K"] == "v"
    assert [first["__OW_ACTIVATION_ID"], again["__OW_ACTIVATION_ID"]] == ["1", "2"]


async def test_console_is_logged_with_the_run_that_did_it(bench: Bench) -> None:
    code = "function main (a) { console.log('out', a.n); console.error('err', a.n) }"
    sandbox = await _ready(bench, code)
    for n in range(3):
        ran = await bench.run(sandbox, {"n": n})
        assert bench.texts(ran) == [f"out {n}"]
        assert bench.texts(ran, "stderr") == [f"err {n}"]


async def test_what_is_left_running_goes_on_between_runs(bench: Bench) -> None:
    code = "let n = 0\nfunction main () { setTimeout(() => { n++ }, 1); return { n } }"
    sandbox = await _ready(bench, code)
    await bench.run(sandbox)
    for _ in range(100):
        if bench.result(await bench.run(sandbox))["n"] > 1:
            return
    pytest.fail("the timer never fired")


async def test_exit_and_uncaught_errors_end_the_sandbox(bench: Bench) -> None:
    ran = await _run(bench, "function main () { process.exit(2) }")
    assert bench.cause(ran) == Cause.EXITED
    code = "function main () { return new Promise(() => setTimeout(() => nope(), 1)) }"
    ran = await _run(bench, code)
    assert bench.cause(ran) == Cause.EXITED
    assert "ReferenceError" in "\n".join(ran.logs)


async def test_require_and_dynamic_import_work(bench: Bench) -> None:
    code = (
        "const path = require('path')\n"
        "async function main () {\n"
        "  const os = await import('node:os')\n"
        "  return { join: path.join('a', 'b'), cwd: process.cwd() === __dirname,"
        " os: typeof os.cpus }\n"
        "}"
    )
    expected = {"join": "a/b", "cwd": True, "os": "function"}
    assert await _once(bench, code) == expected


def test_dynamic_import_works_without_the_loader_of_later_versions(
    tmp_path: Path,
) -> None:
    """Node.js 18, which is Debian 12's own, has no `vm.constants`."""
    old = tmp_path / "old.js"
    old.write_text("Object.defineProperty(require('vm'), 'constants', {})")
    code = (
        "import('node:os').then(os => console.log(typeof os.cpus)); function main () {}"
    )
    request = {"code": code, "main": "main", "binary": False, "env": {}}
    done = subprocess.run(
        [
            "sh",
            "-c",
            'exec node -r "$@" 3>&1 4<&0',
            "sh",
            old,
            LAUNCHERS / "node.js",
            tmp_path,
        ],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.stdout.splitlines() == ['+{"OK":true}', '+{"OK":true}', "function"]


async def test_running_out_of_heap_is_told_apart(bench: Bench) -> None:
    code = (
        "function main () { const kept = []; "
        "for (;;) kept.push(new Array(1e5).fill(kept.length + 0.5)) }"
    )
    ran = await _run(bench, code)
    assert bench.cause(ran) == Cause.OUT_OF_MEMORY


# Archives

PACKAGE = {
    "package.json": '{"main": "lib/start.js"}',
    "lib/start.js": "const h = require('./help'); exports.main = a => ({ h, a,"
    " text: require('fs').readFileSync('data.txt', 'utf8') })",
    "lib/help.js": "module.exports = 'help'",
    "data.txt": "text",
}
ANSWER = {"h": "help", "a": {"n": 1}, "text": "text"}


async def test_c38_a_zip_runs_from_its_package(bench: Bench) -> None:
    code = bench.zipped(PACKAGE)
    assert await _once(bench, code, {"n": 1}, binary=True) == ANSWER


async def test_c38_a_tarball_runs_from_its_package(bench: Bench) -> None:
    assert await _once(bench, _tarball(PACKAGE), {"n": 1}, binary=True) == ANSWER


def _tarball(files: dict[str, str]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return base64.b64encode(buffer.getvalue()).decode()


async def test_c38_main_may_name_a_file_of_the_zip(bench: Bench) -> None:
    code = bench.zipped({"index.js": "", "other.js": "exports.go = () => ({ ok: 1 })"})
    assert await _once(bench, code, binary=True, main="other.go") == {"ok": 1}


@pytest.mark.parametrize(
    ("files", "detail"),
    [
        ({"a.js": ""}, "must contain either package.json or index.js at the root."),
        ({"index.js": "", "../out.js": ""}, "a path outside the action: ../out.js"),
        ({"index.js": "", "a/../../out": ""}, "a path outside the action"),
        ({"index.js": "", "/etc/out": ""}, "a path outside the action"),
        ({"index.js": "exports.other = 1"}, "entrypoint 'main' is not a function"),
    ],
)
async def test_c38_a_zip_that_cannot_be_used_is_refused(
    bench: Bench, files: dict[str, str], detail: str
) -> None:
    code = bench.zipped(files)
    ran = await bench.refused(code, family="nodejs", binary=True)
    assert detail in bench.refusal(ran)


@pytest.mark.parametrize("code", ["bm90IGEgemlw", "%%%", "UEsDBA==", "H4sIAAAA"])
async def test_c40_what_is_no_archive_is_refused(bench: Bench, code: str) -> None:
    ran = await bench.refused(code, family="nodejs", binary=True)
    assert bench.refusal(ran).startswith("Initialization has failed due to: ")
