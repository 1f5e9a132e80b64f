"""Python actions: rows C29-C35 of the contract, at both levels."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.model.activations import Cause

if TYPE_CHECKING:
    from tests.edge_agent.sandbox.conftest import Bench

ECHO = "def main(args):\n    return args\n"
NO_BINARY = "The action failed to generate or locate a binary. See logs for details."
NO_START = "Cannot start action. Check logs for details."
NO_RESULT = "The action did not return a dictionary or array."


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": 1},
        {"text": 'ünï \u2028 "quoted" \\ \n'},
        {"n": [1.5, None, True]},
        [1, {"a": 2}],
    ],
)
async def test_c29_main_answers_with_what_it_returns(bench: Bench, value: Any) -> None:
    assert await bench.once(ECHO, value) == value


async def test_c29_main_goes_by_the_name_that_exec_gives(bench: Bench) -> None:
    code = "def greet(args):\n    return {'hello': args['name']}\n"
    assert await bench.once(code, {"name": "you"}, main="greet") == {"hello": "you"}


async def test_c34_globals_survive_between_runs(bench: Bench) -> None:
    code = "n = 0\ndef main(args):\n    global n\n    n += 1\n    return {'n': n}\n"
    sandbox = await bench.ready(code)
    assert [bench.result(await bench.run(sandbox)) for _ in range(3)] == [
        {"n": 1},
        {"n": 2},
        {"n": 3},
    ]


@pytest.mark.parametrize("imported", ["import os\n", ""])
async def test_c34_init_and_run_put_their_variables_into_the_environment(
    bench: Bench, imported: str
) -> None:
    code = f"{imported}def main(args):\n    import os\n    return dict(os.environ)\n"
    sandbox = await bench.ready(code, env={"K": "vé", "__OW_API_HOST": "http://h"})
    first = bench.result(await bench.run(sandbox, context={"activation_id": "1"}))
    again = bench.result(await bench.run(sandbox, context={"activation_id": "2"}))
    assert first["K"] == "vé"
    assert first["__OW_API_HOST"] == "http://h"
    assert first["__OW_ACTIVATION_ID"] == "1"
    assert again["__OW_ACTIVATION_ID"] == "2"


async def test_children_inherit_the_variables_of_the_run(bench: Bench) -> None:
    code = (
        "def main(args):\n"
        "    import subprocess\n"
        "    return {'v': subprocess.check_output(['sh', '-c', 'echo $__OW_DEADLINE'],"
        " text=True)}\n"
    )
    assert await bench.once(code) == {"v": "1700000000000\n"}


async def test_c33_an_exception_in_main_is_an_application_error(bench: Bench) -> None:
    code = "def main(args):\n    raise ValueError('no ' + args['x'])\n"
    sandbox = await bench.ready(code)
    ran = await bench.run(sandbox, {"x": "luck"})
    assert bench.result(ran) == {"error": "no luck"}
    trace = "\n".join(bench.texts(ran, "stderr"))
    assert "main__.py" in trace
    assert "ValueError: no luck" in trace
    assert "launcher" not in trace
    assert bench.result(await bench.run(sandbox, {"x": "b"})) == {"error": "no b"}


@pytest.mark.parametrize("value", ["None", "5", "'text'", "True"])
async def test_c35_a_result_that_is_no_object_is_refused(
    bench: Bench, value: str
) -> None:
    sandbox = await bench.ready(f"def main(args):\n    return {value}\n")
    assert bench.refusal(await bench.run(sandbox)) == NO_RESULT


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{'a': object()}", "object is not JSON serializable"),
        ("{'a': float('nan')}", "not JSON compliant"),
        ("{(1, 2): 3}", "keys must be str"),
    ],
)
async def test_a_result_that_is_no_json_says_why(
    bench: Bench, value: str, why: str
) -> None:
    sandbox = await bench.ready(f"def main(args):\n    return {value}\n")
    assert why in bench.refusal(await bench.run(sandbox))


@pytest.mark.parametrize(
    ("code", "text", "logged"),
    [
        ("def main(args) return", NO_BINARY, "SyntaxError"),
        ("x = 1\n", NO_START, "cannot import name 'main'"),
        ("main = 5\n", NO_START, "cannot import name 'main'"),
        ("import nothing_like_it\n", NO_START, "ModuleNotFoundError"),
        ("", "Missing main/no code to execute.", ""),
    ],
)
async def test_code_that_cannot_start_is_refused_at_init(
    bench: Bench, code: str, text: str, logged: str
) -> None:
    ran = await bench.refused(code)
    assert bench.refusal(ran) == text
    assert logged in "\n".join(ran.logs)


async def test_exit_ends_the_sandbox(bench: Bench) -> None:
    sandbox = await bench.ready("import sys\ndef main(args):\n    sys.exit(3)\n")
    assert bench.cause(await bench.run(sandbox)) == Cause.EXITED
    assert sandbox.exited.done()
    assert bench.cause(await bench.run(sandbox)) == Cause.EXITED


async def test_a_crash_in_init_is_gone(bench: Bench) -> None:
    assert bench.cause(await bench.refused("import os\nos._exit(1)\n")) == Cause.EXITED


async def test_c35_print_is_logged_with_the_run_that_did_it(bench: Bench) -> None:
    code = (
        "import sys\nprint('at init')\n"
        "def main(args):\n"
        "    print('out', args['n'])\n"
        "    print('err', args['n'], file=sys.stderr)\n"
        "    return {}\n"
    )
    sandbox = await bench.create()
    assert bench.texts(await bench.init(sandbox, code)) == ["at init"]
    for n in range(3):
        ran = await bench.run(sandbox, {"n": n})
        assert bench.texts(ran) == [f"out {n}"]
        assert bench.texts(ran, "stderr") == [f"err {n}"]


async def test_stdin_is_empty_and_fd_3_does_not_reach_children(bench: Bench) -> None:
    code = (
        "import os, subprocess, sys\n"
        "def main(args):\n"
        "    fds = subprocess.run(['ls', '/proc/self/fd'], close_fds=False,"
        " capture_output=True, text=True).stdout.split()\n"
        "    return {'stdin': sys.stdin.read(), 'fds': fds}\n"
    )
    seen = await bench.once(code)
    assert seen["stdin"] == ""
    assert set(seen["fds"]) <= {"0", "1", "2", "3"}  # 3 is the folder that ls reads


async def test_a_fork_that_returns_from_main_does_not_answer(bench: Bench) -> None:
    code = "import os\ndef main(args):\n    return {'child': os.fork() == 0}\n"
    sandbox = await bench.ready(code)
    for _ in range(3):
        assert bench.result(await bench.run(sandbox)) == {"child": False}


async def test_running_out_of_memory_is_told_apart(bench: Bench) -> None:
    code = "def main(args):\n    kept = bytearray(1 << 34)\n    return {}\n"
    sandbox = await bench.ready(code)
    assert bench.cause(await bench.run(sandbox)) == Cause.OUT_OF_MEMORY


# Archives


async def test_c30_a_zip_runs_with_its_helpers_and_files(bench: Bench) -> None:
    code = bench.zipped(
        {
            "__main__.py": "import helper, os\n"
            "from deep.inner import two\n"
            "def main(args):\n"
            "    return {'one': helper.one, 'two': two,"
            " 'file': open('data.txt').read()}\n",
            "helper.py": "one = 1\n",
            "deep/__init__.py": "",
            "deep/inner.py": "two = 2\n",
            "data.txt": "text",
        }
    )
    answer = await bench.once(code, binary=True)
    assert answer == {"one": 1, "two": 2, "file": "text"}


@pytest.mark.parametrize(
    ("files", "logged"),
    [
        ({"other.py": "x = 1"}, "Zip file does not include __main__.py"),
        ({"__main__.py": ECHO, "../out.py": "x"}, "outside the action: ../out.py"),
        ({"__main__.py": ECHO, "/etc/out": "x"}, "outside the action: /etc/out"),
        ({"__main__.py": ECHO, "a/../../out": "x"}, "outside the action"),
        ({"__main__.py": "def main(:"}, "SyntaxError"),
        ({"__main__.py": ECHO, "virtualenv/bin/x": ""}, "activate_this.py"),
    ],
)
async def test_c30_c31_a_zip_that_cannot_be_used_is_refused(
    bench: Bench, files: dict[str, str], logged: str
) -> None:
    ran = await bench.refused(bench.zipped(files), binary=True)
    assert bench.refusal(ran) == NO_BINARY
    assert logged in "\n".join(bench.texts(ran, "stderr"))


@pytest.mark.parametrize("code", ["bm90IGEgemlw", "%%%", "UEsDBA=="])
async def test_what_is_no_zip_is_refused(bench: Bench, code: str) -> None:
    assert bench.refusal(await bench.refused(code, binary=True)) == NO_BINARY


async def test_c31_a_virtualenv_in_the_zip_goes_first(bench: Bench) -> None:
    code = bench.zipped(
        {
            "__main__.py": "import json\ndef main(args):\n    return {'mine': json.mine}\n",
            "virtualenv/bin/activate_this.py": "import sys\n"
            "sys.path.insert(0, __file__.rsplit('/bin', 1)[0] + '/lib')\n",
            "virtualenv/lib/json.py": "mine = True\n",
        }
    )
    assert await bench.once(code, binary=True) == {"mine": True}


# The codec, beside json itself


def test_the_bare_codec_agrees_with_json() -> None:
    code = (
        "import json, sys\n"
        f"source = open({_codec()!r}).read()\n"
        "names = {}\n"
        "exec(source, names)\n"
        "values = [{}, [], {'a': [1, 2.5, None, True, 'é\\u2028\\x00\"']}, {'1': {'b': []}},"
        " {'long': 'x' * 100000}, {'long': 'x' * 100000 + chr(10)}, {'big': 2 ** 80},"
        " {'long': '\"' * 70000}, [1e300, -0.0],"
        " {'a': ['x' * 70000, {'y' * 70000: 'z' * 70000}], 'b': 'x' * 70000, '0': 7},"
        " ['x' * 70000, *map(str, range(100)), 'y' * 70000],"
        " {'long': 'é' * 70000, 'b': [1.5, None, True, {'c': ''}]},"
        " {'long': 'x' * 70000, 'many': list(range(30000))}, 'x' * 70000]\n"
        "for value in values:\n"
        "    text = names['dumps'](value)\n"
        "    assert json.loads(text) == value == names['loads'](json.dumps(value)), value\n"
        "    bare = json.dumps(value, ensure_ascii=False)\n"
        "    assert names['loads'](bare) == value == names['loads'](text), value\n"
        "    assert json.loads(names['dumps'](names['loads'](bare))) == value, value\n"
        "assert not names['CLEAN']\n"
        "print('agreed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "agreed\n", done.stderr


def _codec() -> str:
    from edge_agent.sandbox.interpreters import LAUNCHERS

    return str(LAUNCHERS / "python_codec.py")
