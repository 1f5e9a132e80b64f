"""Containers of a real engine: init, run, logs, limits and the end."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Any

import pytest

from edge_agent.model.activations import Answer, Cause, Gone
from edge_agent.sandbox.container import sandbox as module
from edge_agent.sandbox.container.sandbox import INCOMPLETE, UNEXPECTED

pytestmark = [pytest.mark.docker, pytest.mark.timeout(60)]

COUNT = """
import sys, os
n = 0
def main(args):
    global n
    n += 1
    print("to stdout", n)
    print("to stderr", file=sys.stderr)
    return {"n": n, "given": os.environ["GIVEN"], "id": os.environ["__OW_ACTIVATION_ID"], **args}
"""
ECHO = "def main(args): return args"


def texts(logs: tuple[str, ...]) -> list[str]:
    return sorted(line[31:] for line in logs)


def result(ran: Any) -> Any:
    assert isinstance(ran.said, Answer), ran
    return json.loads(ran.said.body)


async def test_an_action_is_run_warm_with_the_logs_of_each_run(house: Any) -> None:
    sandbox = await house.ready(COUNT)
    assert sandbox.level == "container"
    for n in (1, 2, 3):
        ran = await house.run(sandbox, {"x": n})
        assert result(ran) == {"n": n, "given": "yes", "id": "1", "x": n}
        assert texts(ran.logs) == ["stderr: to stderr", f"stdout: to stdout {n}"]
    await asyncio.sleep(module.FRESH_S + 0.1)  # over a new connection
    assert result(await house.run(sandbox))["n"] == 4
    await sandbox.destroy()
    await sandbox.destroy()
    assert sandbox.exited.done()
    assert sandbox.container not in house.engine.containers()
    assert (await house.run(sandbox)).said == Gone(Cause.EXITED, unread=True)


@pytest.mark.engines
async def test_a_runtime_that_writes_in_two_parts_does_not_wait_for_us(
    house: Any,
) -> None:
    sandbox = await house.ready(ECHO)
    spent = []
    for _ in range(15):
        begun = time.perf_counter()
        await house.run(sandbox, logs_bytes=0)
        spent.append(time.perf_counter() - begun)
    assert statistics.median(spent) < 0.035  # a delayed acknowledgement takes 0.04


@pytest.mark.engines
async def test_three_containers_run_at_once(house: Any) -> None:
    code = "import time\ndef main(a):\n  time.sleep(0.5)\n  return a"
    sandboxes = await asyncio.gather(*(house.ready(code) for _ in range(3)))
    runs = (house.run(s, {"n": n}) for n, s in enumerate(sandboxes))
    assert [result(r)["n"] for r in await asyncio.gather(*runs)] == [0, 1, 2]


@pytest.mark.engines
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_megabyte_goes_in_and_out(house: Any, chunked: bool) -> None:
    sandbox = await house.ready(f"chunked = {chunked}\n{ECHO}")
    text = "x" * 100_000 if chunked else "x" * 1_000_000
    for _ in range(2):
        assert result(await house.run(sandbox, {"t": text})) == {"t": text}


@pytest.mark.engines
async def test_a_result_that_is_too_long_is_counted(house: Any) -> None:
    sandbox = await house.ready("def main(a): return {'t': 'x' * 2_000_000}")
    said = (await house.run(sandbox)).said
    assert said == Gone(Cause.TOO_LONG, 2_000_009, said.start)
    assert len(said.start) == 1 << 20


@pytest.mark.engines
async def test_c1_what_a_runtime_says_to_a_good_init_is_ignored(house: Any) -> None:
    """Ours agree there to several runs at once, and images may not."""
    sandbox = await house.sandbox()
    assert (await house.init(sandbox, ECHO)).said == Answer(b"{}")


@pytest.mark.engines
async def test_a_create_that_is_cancelled_leaves_no_container(house: Any) -> None:
    for delay_s in (0.0, 0.02, 0.1, 0.3):
        making = asyncio.ensure_future(house.sandbox())
        await asyncio.sleep(delay_s)
        making.cancel()
        await asyncio.wait([making])
        if not making.cancelled():  # the engine was quicker
            await making.result().destroy()
    assert not house.factory.live
    async with asyncio.timeout(10):  # an engine lists for a moment what it removes
        while house.engine.containers():
            await asyncio.sleep(0.1)


@pytest.mark.engines
async def test_a_failing_init_is_told_with_its_logs(house: Any) -> None:
    sandbox = await house.sandbox()
    ran = await house.init(sandbox, "print('before')\n1 / 0")
    assert ran.said == Answer(b'{"error": "division by zero"}', ok=False)
    assert texts(ran.logs) == ["stdout: before"]


@pytest.mark.engines
async def test_a_failing_run_is_no_result(house: Any) -> None:
    sandbox = await house.ready("def main(args): raise ValueError('no')")
    assert (await house.run(sandbox)).said == Answer(b'{"error": "no"}', ok=False)


@pytest.mark.engines
async def test_a_container_that_ends_in_a_run_is_noticed(house: Any) -> None:
    sandbox = await house.ready(
        "import os\ndef main(a):\n  print('hm', flush=True)\n  os._exit(3)"
    )
    ran = await house.run(sandbox)
    assert ran.said == Gone(Cause.EXITED)
    assert texts(ran.logs) == [f"stderr: {UNEXPECTED}", "stdout: hm"]
    await asyncio.wait_for(sandbox.exited, 5)


@pytest.mark.engines
async def test_an_idle_container_that_ends_is_noticed(house: Any) -> None:
    sandbox = await house.ready(ECHO)
    house.engine.call("POST", f"/containers/{sandbox.container}/kill")
    await asyncio.wait_for(sandbox.exited, 5)


@pytest.mark.engines
async def test_c15_a_run_that_is_out_of_time_is_ended_with_its_container(
    house: Any,
) -> None:
    sandbox = await house.ready(
        "import time\ndef main(a):\n  print('on', flush=True)\n  time.sleep(60)"
    )
    ran = await house.run(sandbox, timeout_s=0.5)
    assert ran.said == Gone(Cause.TIMED_OUT)
    assert texts(ran.logs) == [f"stderr: {UNEXPECTED}", "stdout: on"]
    await asyncio.wait_for(sandbox.exited, 5)


@pytest.mark.engines
async def test_c16_a_run_that_is_out_of_memory_says_so(house: Any) -> None:
    sandbox = await house.ready("def main(a): return {'n': len(bytearray(500 << 20))}")
    assert (await house.run(sandbox)).said == Gone(Cause.OUT_OF_MEMORY)


@pytest.mark.engines
async def test_c21_a_runtime_that_is_busy_has_read_nothing(house: Any) -> None:
    sandbox = await house.ready(f"busy = True\n{ECHO}")
    assert (await house.run(sandbox)).said == Gone(Cause.EXITED, unread=True)
    await asyncio.wait_for(sandbox.exited, 5)


@pytest.mark.engines
async def test_c24_a_flood_is_cut_and_says_so(house: Any) -> None:
    sandbox = await house.ready(
        "def main(a):\n  for n in range(a['n']): print('x' * 99)\n  return {}"
    )
    ran = await house.run(sandbox, {"n": 50_000}, logs_bytes=10_000)
    assert result(ran) == {}
    assert ran.logs[-1].endswith("exceeds the limit of 10000 bytes.")
    assert sum(map(len, ran.logs[:-1])) <= 10_000
    after = await house.run(sandbox, {"n": 1}, logs_bytes=10_000)
    assert texts(after.logs) == ["stdout: " + "x" * 99]


@pytest.mark.engines
async def test_c24_without_a_limit_there_are_no_logs_and_no_waiting(house: Any) -> None:
    sandbox = await house.ready(f"sentinel = False\n{COUNT}")
    ran = await asyncio.wait_for(house.run(sandbox, logs_bytes=0), 1)
    assert ran.logs == ()


@pytest.mark.engines
async def test_c24_a_missing_sentinel_is_waited_for_once(house: Any) -> None:
    sandbox = await house.ready(f"sentinel = False\n{COUNT}")
    first = await house.run(sandbox)
    assert texts(first.logs)[0] == f"stderr: {INCOMPLETE}"
    again = await asyncio.wait_for(house.run(sandbox), 1)
    assert result(again)["n"] == 2


@pytest.mark.engines
async def test_a_forged_sentinel_hides_nothing(house: Any) -> None:
    end = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"
    sandbox = await house.ready(
        f"import sys\ndef main(a):\n  print('{end}')\n  print('{end}', file=sys.stderr)\n"
        "  print('after'); return a"
    )
    for _ in range(3):
        assert "stdout: after" in texts((await house.run(sandbox)).logs)


@pytest.mark.engines
async def test_d12_what_a_container_may_do(house: Any) -> None:
    code = """
import os, resource
def main(args):
    status = dict(l.split(":\\t") for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
    devices = [l.split(":")[0].strip() for l in open("/proc/net/dev").readlines()[2:]]
    return {"caps": int(status["CapEff"], 16), "new": status["NoNewPrivs"],
            "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1], "devices": devices}
"""
    sandbox = await house.ready(code)
    told = result(await house.run(sandbox))
    assert not told["caps"] & (1 << 13 | 1 << 12)  # NET_RAW, NET_ADMIN
    assert told["new"] == "1"
    assert told["files"] == 1024
    assert told["devices"] == ["lo"]
    host = house.engine.call("GET", f"/containers/{sandbox.container}/json")[
        "HostConfig"
    ]
    assert host["Memory"] == host["MemorySwap"] == 128 << 20
    assert host["CpuShares"] == 128
    assert host["PidsLimit"] == 1024


@pytest.mark.engines
async def test_a_fork_bomb_ends_at_the_limit(make_house: Any) -> None:
    house = await make_house(processes=20)
    sandbox = await house.ready(
        "import os, time\ndef main(a):\n  for n in range(100):\n"
        "    try:\n      if not os.fork(): time.sleep(60)\n"
        "    except OSError as e: return {'n': n, 'e': e.errno}"
    )
    told = result(await house.run(sandbox))
    assert told["n"] < 20
    assert told["e"] == 11  # EAGAIN


@pytest.mark.engines
async def test_a_read_only_container_writes_to_tmp_alone(make_house: Any) -> None:
    house = await make_house(read_only=True, tmp_mb=1)
    sandbox = await house.ready(
        "def main(a):\n  open('/tmp/a', 'w').write('x')\n"
        "  try: open('/b', 'w')\n  except OSError as e: return {'e': e.errno}"
    )
    assert result(await house.run(sandbox)) == {"e": 30}
