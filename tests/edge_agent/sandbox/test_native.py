"""Programs: kind native (ActionLoop, C25) and the skeleton's contract (C46-C48)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.model.activations import Answer, Cause
from edge_agent.sandbox.base import SandboxSpec
from edge_agent.sandbox.interpreters import LAUNCHERS

if TYPE_CHECKING:
    from edge_agent.sandbox.base import Ran
    from edge_agent.sandbox.proxy import ProcessSandbox
    from tests.edge_agent.sandbox.conftest import Bench

NO_BINARY = "The action failed to generate or locate a binary. See logs for details."
NO_START = "Cannot start action. Check logs for details."
NO_RESULT = "The action did not return a dictionary or array."

#: Answers with what it read, its environment and how often it was asked.
LOOP = """#!/usr/bin/perl
$| = 1;
open(my $answers, '>&=', 3) or die;
$answers->autoflush(1);
my $count = 0;
while (my $line = <STDIN>) {
    chomp $line;
    $count++;
    print "asked $count\\n";
    print $answers "{\\"line\\":$line,\\"count\\":$count,\\"K\\":\\"$ENV{K}\\"}\\n";
}
"""
#: C46 by the book: argv[1], stdin, the last line is the result.
ONCE = """#!/bin/sh
echo first; echo aside >&2
input=$(cat)
[ "$input" = "$1" ] && same=true || same=false
echo "{\\"given\\":$input,\\"same\\":$same,\\"id\\":\\"$__OW_ACTIVATION_ID\\"}"
"""


async def _sandbox(bench: Bench, kind: str) -> ProcessSandbox:
    concrete = bench.factory.resolve(kind)
    assert concrete is not None, kind
    return await bench.factory.create(SandboxSpec(concrete, 256))


async def _ready(bench: Bench, kind: str, code: str, **more: Any) -> ProcessSandbox:
    sandbox = await _sandbox(bench, kind)
    ran = await bench.init(sandbox, code, **more)
    assert isinstance(ran.said, Answer), ran
    assert ran.said.ok, ran
    return sandbox


async def _refused(bench: Bench, kind: str, code: str, **more: Any) -> Ran:
    return await bench.init(await _sandbox(bench, kind), code, **more)


async def test_c25_a_program_of_the_loop_is_asked_by_lines(bench: Bench) -> None:
    code = bench.zipped({"exec": LOOP, "data.txt": "x"})
    sandbox = await _ready(bench, "native", code, binary=True, env={"K": "v"})

    first = await bench.run(sandbox, {"a": [1, None, "ü"]})
    second = await bench.run(sandbox, {"b": 2})

    result = bench.result(first)
    assert result["line"]["value"] == {"a": [1, None, "ü"]}
    assert result["line"]["activation_id"] == "0" * 32
    assert result["K"] == "v"
    assert bench.texts(first) == ["asked 1"]
    assert bench.result(second)["count"] == 2
    assert bench.texts(second) == ["asked 2"]


@pytest.mark.sandbox
@pytest.mark.parametrize("kind", ["native", "blackbox:openwhisk/dockerskeleton"])
async def test_c46_a_program_of_the_skeleton_is_run_for_each_activation(
    held: Bench, kind: str
) -> None:
    sandbox = await _ready(held, kind, ONCE)
    for number in (1, 2):
        ran = await held.run(sandbox, {"n": number, "text": 'a "b" ü'})
        assert held.result(ran) == {
            "given": {"n": number, "text": 'a "b" ü'},
            "same": True,
            "id": "0" * 32,
        }
        assert held.texts(ran) == ["first"]
        assert held.texts(ran, "stderr") == ["aside"]


async def test_c46_a_program_in_a_zip_is_run_once_where_it_is_a_skeletons(
    bench: Bench,
) -> None:
    code = bench.zipped({"exec": ONCE})
    for kind in ("native", "native:exec", "blackbox:openwhisk/dockerskeleton:1.3"):
        sandbox = await _ready(bench, kind, code, binary=True)
        assert bench.result(await bench.run(sandbox, {"x": 1}))["given"] == {"x": 1}


@pytest.mark.sandbox
async def test_a_zip_that_tells_its_environment_holds_a_program_of_the_loop(
    held: Bench,
) -> None:
    code = held.zipped({"exec": LOOP, "exec.env": "openwhisk/action-perl"})
    image = "blackbox:openwhisk/dockerskeleton"
    sandbox = await _ready(held, image, code, binary=True)
    assert held.result(await held.run(sandbox))["count"] == 1


@pytest.mark.sandbox
async def test_c46_arguments_too_long_for_a_command_line_come_on_stdin_alone(
    held: Bench,
) -> None:
    code = '#!/bin/sh\nn=$(wc -c)\necho "{\\"args\\":$#,\\"bytes\\":$n}"\n'
    sandbox = await _ready(held, "native", code)
    small = held.result(await held.run(sandbox, {"x": "y" * 1000}))
    large = held.result(await held.run(sandbox, {"x": "y" * 900_000}))
    assert small == {"args": 1, "bytes": 1008}
    assert large == {"args": 0, "bytes": 900_008}


@pytest.mark.sandbox
@pytest.mark.parametrize("last", ["", "no JSON", "5", '"text"', "null", '{"a":'])
async def test_c48_a_last_line_that_is_no_object_is_a_developer_error(
    held: Bench, last: str
) -> None:
    sandbox = await _ready(held, "native", f"#!/bin/sh\nprintf '%s\\n' '{last}'\n")
    ran = await held.run(sandbox)
    assert held.refusal(ran) == NO_RESULT
    assert held.texts(ran) == ([last] if last else [])
    assert held.refusal(await held.run(sandbox)) == NO_RESULT


@pytest.mark.sandbox
async def test_c46_without_code_the_skeleton_says_that_it_is_one(held: Bench) -> None:
    sandbox = await _ready(held, "blackbox:openwhisk/dockerskeleton", "")
    assert "stub" in held.result(await held.run(sandbox))["error"]


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("files", "said"),
    [({"other": "x"}, NO_BINARY), ({"exec": "#!/nowhere\n&3"}, NO_START)],
)
async def test_c26_a_program_that_is_not_there_or_does_not_start(
    held: Bench, files: dict[str, str], said: str
) -> None:
    ran = await _refused(held, "native", held.zipped(files), binary=True)
    assert held.refusal(ran) == said
    assert ran.logs


@pytest.mark.sandbox
async def test_c26_no_code_is_no_program(held: Bench) -> None:
    ran = await _refused(held, "native", "")
    assert held.refusal(ran) == "Missing main/no code to execute."


@pytest.mark.sandbox
async def test_c27_an_answer_of_the_loop_that_is_no_object(held: Bench) -> None:
    code = "#!/bin/sh\nwhile read -r line; do echo 5 >&3; done\n"
    sandbox = await _ready(held, "native", code)
    assert held.refusal(await held.run(sandbox)) == NO_RESULT


@pytest.mark.sandbox
async def test_c12_a_program_of_the_loop_that_ends_has_not_answered(
    held: Bench,
) -> None:
    sandbox = await _ready(held, "native", "#!/bin/sh\nread -r line; exit 3 3>&3\n")
    assert held.cause(await held.run(sandbox)) is Cause.EXITED


@pytest.mark.sandbox
@pytest.mark.compiler
async def test_a_compiled_program_runs_as_it_is(held: Bench, tmp_path: Path) -> None:
    source = tmp_path / "exec.c"
    source.write_text(
        "#include <stdio.h>\n#include <unistd.h>\n"
        "int main(void) { char c; while (read(0, &c, 1) == 1)\n"
        ' if (c == \'\\n\') dprintf(3, "{\\"native\\":true}\\n"); return 0; }\n'
    )
    program = tmp_path / "exec"
    compiler = shutil.which("cc")
    assert compiler is not None
    subprocess.run([compiler, "-o", program, source], check=True)
    import base64

    code = base64.b64encode(program.read_bytes()).decode()
    sandbox = await _ready(held, "native", code, binary=True)
    assert held.result(await held.run(sandbox)) == {"native": True}


def test_the_line_of_a_request_is_what_launchers_take_apart() -> None:
    from edge_agent.sandbox.base import RunRequest
    from edge_agent.sandbox.pipes import run_line

    request = RunRequest(b'{"a":1}', {"namespace": "guest", "deadline": "1"})
    line = b"".join(run_line(request))
    assert line == b'{"value":{"a":1},"namespace":"guest","deadline":"1"}\n'
    assert json.loads(line)["value"] == {"a": 1}


@pytest.mark.parametrize(
    ("script", "loop"),
    [
        ("#!/bin/sh\necho '{}' >&3\n", True),
        ("#!/bin/sh\necho '{}' > /dev/fd/3\n", True),
        ("#!/usr/bin/env python3\nout = os.fdopen(3, 'wb')\n", True),
        ("#!/usr/bin/ruby\nout = IO.new(3)\n", True),
        ("#!/usr/bin/node\nfs.writeSync(3, text)\n", True),
        ("#!/usr/bin/perl\nopen(my $out, '>&=', 3)\n", True),
        ("\x7fELF...", True),
        ("#!/bin/sh\nn=3\nsleep 3\nexit 3\n", False),
        ("#!/usr/bin/env python3\nprint(range(3), 3)\nsys.exit(3)\n", False),
    ],
)
def test_a_script_that_names_descriptor_3_is_one_of_the_loop(
    script: str, loop: bool, tmp_path: Path
) -> None:
    path = tmp_path / "exec"
    path.write_text(script)
    sys.path.insert(0, str(LAUNCHERS))
    try:
        import python_loop  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(LAUNCHERS))
        for name in ("python", "python_loop"):
            sys.modules.pop(name, None)
    assert python_loop.is_loop("native", str(path)) is loop
