"""C49: several runs of one sandbox at once, each with its own logs and its own end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edge_agent.model.activations import Answer, Cause
from edge_agent.sandbox.answers import Misbehaviour
from edge_agent.sandbox.base import InitRequest, RunRequest
from edge_agent.sandbox.many import Lines

if TYPE_CHECKING:
    from edge_agent.sandbox.base import Ran
    from edge_agent.sandbox.proxy import ProcessSandbox
    from tests.edge_agent.sandbox.conftest import Bench, OpenBench

PYTHON = """
import asyncio, os, sys
at_once = 0
async def main(args):
    global at_once
    at_once += 1
    if 'fail' in args: raise ValueError(args['fail'])
    if 'spin' in args:
        while True: pass
    if 'die' in args: os._exit(3)
    if 'big' in args: return {'big': 'x' * args['big']}
    print('begin', args['n'])
    await asyncio.sleep(args.get('s', 0.05))
    print('end', args['n'], flush=True)
    print('aside', args['n'], file=sys.stderr)
    print('tail', args['n'], end='')
    return {'n': args['n'], 'at_once': at_once}
"""
NODE = """
let atOnce = 0
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
async function main (args) {
  atOnce++
  if (args.fail) throw args.fail
  if (args.spin) while (true);
  if (args.die) process.exit(3)
  if (args.big) return { big: 'x'.repeat(args.big) }
  console.log('begin', args.n)
  await sleep((args.s || 0.05) * 1000)
  console.log('end', args.n)
  console.error('aside', args.n)
  process.stdout.write(`tail ${args.n}`)
  return { n: args.n, at_once: atOnce }
}
"""
CODE = {"python": PYTHON, "nodejs": NODE}
BOTH = pytest.mark.parametrize(
    "family", ["python", pytest.param("nodejs", marks=pytest.mark.node)]
)
pytestmark = pytest.mark.sandbox


async def _shared(
    bench: Bench, family: str, code: str = "", places: int = 20
) -> ProcessSandbox:
    sandbox = await bench.create(family)
    request = InitRequest("a", "main", code or CODE[family], False, {}, places)
    ran = await sandbox.init(request, timeout_s=15, logs_bytes=1 << 20)
    assert isinstance(ran.said, Answer), ran
    assert ran.said.ok, ran
    return sandbox


def _begin(
    sandbox: ProcessSandbox,
    *,
    timeout_s: float = 10,
    logs_bytes: int = 1 << 20,
    **args: Any,
) -> asyncio.Future[Ran]:
    request = RunRequest(msgspec.json.encode(args), {"activation_id": str(args)})
    return sandbox.run(request, timeout_s=timeout_s, logs_bytes=logs_bytes)


@BOTH
async def test_runs_go_on_at_once_each_with_its_own_logs(
    held: Bench, family: str
) -> None:
    sandbox = await _shared(held, family)
    begun = time.monotonic()
    rans = await asyncio.gather(*(_begin(sandbox, n=n, s=0.3) for n in range(20)))

    assert time.monotonic() - begun < 3
    for n, ran in enumerate(rans):
        assert held.result(ran) == {"n": n, "at_once": 20}
        assert held.texts(ran) == [f"begin {n}", f"end {n}", f"tail {n}"]
        assert held.texts(ran, "stderr") == [f"aside {n}"]


@BOTH
async def test_what_one_raises_is_its_own(held: Bench, family: str) -> None:
    sandbox = await _shared(held, family)
    fine, failed = _begin(sandbox, n=1, s=0.2), _begin(sandbox, fail="no")
    assert held.result(await failed) == {"error": "no"}
    assert held.result(await fine)["n"] == 1


@BOTH
async def test_c15_one_out_of_time_does_not_take_the_others_along(
    held: Bench, family: str
) -> None:
    sandbox = await _shared(held, family)
    late, fine = _begin(sandbox, n=1, s=5, timeout_s=0.2), _begin(sandbox, n=2, s=0.5)
    assert held.cause(await late) is Cause.TIMED_OUT
    assert held.texts(await late) == ["begin 1"]
    assert held.result(await fine)["n"] == 2


@BOTH
async def test_c12_a_crash_ends_all_of_them(held: Bench, family: str) -> None:
    sandbox = await _shared(held, family)
    rans = [_begin(sandbox, n=1, s=5), _begin(sandbox, die=True)]
    for ran in await asyncio.gather(*rans):
        assert held.cause(ran) is Cause.EXITED
    assert held.cause(await _begin(sandbox, n=3)) is Cause.EXITED


@BOTH
async def test_destroy_ends_runs_early(held: Bench, family: str) -> None:
    sandbox = await _shared(held, family)
    rans = [_begin(sandbox, n=1, s=5), _begin(sandbox, spin=True)]
    await sandbox.destroy()
    for ran in await asyncio.gather(*rans):
        assert held.cause(ran) is Cause.EXITED


@BOTH
async def test_c7_large_answers_and_too_large_ones(held: Bench, family: str) -> None:
    sandbox = await _shared(held, family)
    large, too_large = _begin(sandbox, big=900_000), _begin(sandbox, big=2_000_000)
    given = _begin(sandbox, n=1, text="y" * 900_000)
    assert len(held.result(await large)["big"]) == 900_000
    assert held.cause(await too_large) is Cause.TOO_LONG
    assert held.result(await given)["n"] == 1


async def test_c24_logs_are_bounded_for_each(held: Bench) -> None:
    code = """
import asyncio
async def main(args):
    for n in range(args['lines']): print('x' * 99)
    await asyncio.sleep(0)
    return {}
"""
    sandbox = await _shared(held, "python", code)
    flood = _begin(sandbox, lines=5000, logs_bytes=4096)
    few = _begin(sandbox, lines=3, logs_bytes=4096)
    assert len(held.texts(await few)) == 3
    ran = await flood
    assert "Logs were truncated" in ran.logs[-1]
    assert sum(map(len, ran.logs)) < 5000


@pytest.mark.parametrize("main", ["async def main(a): return {'n': 1}"])
async def test_a_coroutine_function_serves_one_at_a_time_without_being_asked(
    bench: Bench, main: str
) -> None:
    sandbox = await bench.ready(main)
    for _ in range(2):
        assert bench.result(await bench.run(sandbox)) == {"n": 1}


async def test_a_plain_main_does_not_agree(held: Bench) -> None:
    sandbox = await held.create("python")
    code = "def main(a): return a"
    request = InitRequest("a", "main", code, False, {}, 5)
    ran = await sandbox.init(request, timeout_s=15, logs_bytes=0)
    assert isinstance(ran.said, Answer)
    assert ran.said.body == b'{"ok":true}'
    assert held.result(await held.run(sandbox, {"x": 1})) == {"x": 1}


@pytest.mark.parametrize("line", [b"+9 {}", b"+ {}", b"x1 {}", b"o1 no text", b""])
async def test_forged_lines_end_the_sandbox(open_bench: OpenBench, line: bytes) -> None:
    bench = await open_bench("full")
    code = f"""
import asyncio, os
async def main(args):
    os.write(3, {line!r} + b'\\n')
    await asyncio.sleep(5)
"""
    sandbox = await _shared(bench, "python", code)
    assert bench.cause(await _begin(sandbox)) is Cause.EXITED


def test_lines_are_put_together_and_bounded() -> None:
    lines = Lines(100)
    assert lines.feed(b"ab") == []
    assert lines.feed(b"c\nd\n\ne") == [(b"abc", 3), (b"d", 1), (b"", 0)]
    (long,) = lines.feed(b"x" * 500 + b"\n")
    assert long == (b"e" + b"x" * 119, 501)
    with pytest.raises(Misbehaviour):
        lines.feed(b"x" * 10_000)
