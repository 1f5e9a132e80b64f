from __future__ import annotations

import asyncio
import base64
import json
import socket
import urllib.error
import urllib.request
from typing import Any

from edge_agent.model.limits import SystemLimits
from edge_agent.settings import Metrics, Pool, Settings
from edge_agent.telemetry.exposition import CONTENT_TYPE

NODE = 'region="edge",stack="edgewhisk"'
ACTION = f'{NODE},namespace="guest",initiator="guest",action="a"'


async def scrape(server: Any) -> dict[str, str]:
    answer = await server("GET", "/metrics", auth=" ")
    assert answer.status == 200
    return read(answer.text)


def read(text: str) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")


async def test_e1_e2_e3_e4_e5_e7_e9_e12_an_ended_run_is_counted_by_upstreams_names(
    server: Any,
) -> None:
    await server.put_action()
    for _ in range(3):
        await server.invoke()

    lines = await scrape(server)
    runs = [n for n in lines if n.startswith("openwhisk_action_activations_total{")]

    assert [lines[name] for name in runs] == ["3"]
    assert runs[0].startswith(f"openwhisk_action_activations_total{{{ACTION},kind=")
    assert lines[f"openwhisk_action_coldStarts_total{{{ACTION}}}"] == "1"
    assert lines[f'openwhisk_action_status{{{ACTION},status="success"}}'] == "3"
    for name in ("waitTime_seconds", "duration_seconds", "response_size_bytes"):
        assert lines[f"openwhisk_action_{name}_count{{{ACTION}}}"] == "3"
        bucket = f'openwhisk_action_{name}_bucket{{{ACTION},le="+Inf"}}'
        assert lines[bucket] == "3"
    assert lines[f"openwhisk_action_initTime_seconds_count{{{ACTION}}}"] == "1"
    assert lines[f"openwhisk_action_memory{{{ACTION}}}"] == "256"


async def test_a16_the_text_has_prometheus_type_and_no_cors(server: Any) -> None:
    answer = await server("GET", "/metrics", auth=" ")

    assert answer.headers["Content-Type"] == CONTENT_TYPE == "text/plain; version=0.0.4"
    assert not answer.has_cors


async def test_e15_e16_e19_the_pool_is_told_in_upstreams_words(server: Any) -> None:
    await server.put_action()
    await server.invoke()
    await server("GET", "actions/nothing")

    lines = await scrape(server)

    def pool(name: str) -> str:
        return lines[f"gauge_containerPool_{name}_counter{{{NODE}}}"]

    assert (pool("idlesCount"), pool("idlesSize")) == ("1", "256")
    for name in ("runBuffer", "active", "prewarm"):
        assert (pool(f"{name}Count"), pool(f"{name}Size")) == ("0", "0")
    starts = "counter_invoker_containerStart_counter_total"
    assert lines[f'{starts}{{{ACTION},containerState="cold"}}'] == "1"
    for name in ("activations", "memory", "memoryManaged", "memoryBlackbox"):
        name = f"gauge_loadbalancer_{name}Inflight_counter"  # noqa: PLW2901
        assert lines[f'{name}{{{NODE},controller_id="0"}}'] == "0"
    for method, code in (("post", 200), ("put", 200), ("get", 404)):
        answered = f'counter_http_{method}_counter_total{{{NODE},statusCode="{code}"}}'
        assert lines[answered] == "1"


async def test_e10_a_caller_that_is_refused_is_counted(serving: Any) -> None:
    limits = SystemLimits(invocations_per_minute=1)
    async with serving(Settings(limits=limits)) as server:
        await server.put_action()
        statuses = [(await server.invoke()).status for _ in range(3)]
        lines = await scrape(server)

    assert statuses.count(429) >= 1
    timed = f'openwhisk_action_limit_timed_total{{{NODE},namespace="guest"}}'
    assert lines[timed] == str(statuses.count(429))


async def test_e16_what_runs_and_what_waits_is_counted_with_its_memory(
    serving: Any,
) -> None:
    async with serving(Settings(pool=Pool(memory_mb=256))) as server:
        await server.put_action()
        server.factory.run_s = 30
        calls = [asyncio.create_task(server.invoke()) for _ in range(3)]
        async with asyncio.timeout(5):
            while (await scrape(server))[
                f"gauge_containerPool_runBufferCount_counter{{{NODE}}}"
            ] != "2":
                await asyncio.sleep(0.01)

        lines = await scrape(server)

        for task in calls:
            task.cancel()
    inflight = "gauge_loadbalancer_memoryInflight_counter"
    assert lines[f"gauge_containerPool_runBufferSize_counter{{{NODE}}}"] == "512"
    assert lines[f"gauge_containerPool_activeCount_counter{{{NODE}}}"] == "1"
    assert lines[f"gauge_containerPool_activeSize_counter{{{NODE}}}"] == "256"
    assert lines[f'{inflight}{{{NODE},controller_id="0"}}'] == "768"


async def test_e17_a_cold_start_of_a_prewarmed_kind_is_counted(serving: Any) -> None:
    settings = Settings(pool=Pool(memory_mb=512, prewarm={"python:3.11": 1}))
    async with serving(settings) as server:
        await server.put_action("large", limits={"memory": 512})
        answer = await server.invoke("large")
        lines = await scrape(server)

    counts = "counter_containerPool_{}_counter_total{{{},memory={},kind={}}}"
    cold = counts.format("prewarmColdstart", NODE, '"512"', '"python:3.11"')
    unused = counts.format("prewarmExpired", NODE, '"256"', '"python:3.11"')
    assert answer.status == 200
    assert lines[cold] == "1"
    assert lines[unused] == "1"


async def test_e18_times_of_calls_and_of_the_store_are_told(server: Any) -> None:
    await server.put_action()
    await server.invoke()
    await server("POST", "actions/a", {})

    lines = await scrape(server)

    def count(name: str) -> int:
        return int(lines[f"histogram_{name}_finish_seconds_count{{{NODE}}}"])

    assert count("controller_blockingActivation") == 1
    assert count("controller_activation") == 1
    assert count("invoker_activationRun") >= 1
    assert count("invoker_activationInit") == 1
    assert count("database_saveDocumentBulk") >= 1


async def test_e23_region_and_stack_are_the_settings(serving: Any) -> None:
    metrics = Metrics(region="lab", stack='the "big" one')
    async with serving(Settings(metrics=metrics)) as server:
        answer = await server("GET", "/metrics", auth=" ")

    samples = [line for line in answer.text.splitlines() if line[0] != "#"]
    assert all('region="lab",stack="the \\"big\\" one"' in line for line in samples)


async def test_a_sample_belongs_to_a_family_that_was_announced(server: Any) -> None:
    await server.put_action()
    await server.invoke()

    text = (await server("GET", "/metrics", auth=" ")).text
    announced = [line.split() for line in text.splitlines() if line[:6] == "# TYPE"]
    names = [words[2] for words in announced]
    kinds = {words[2]: words[3] for words in announced}

    assert len(names) == len(set(names))
    for line in read(text):
        name = line.partition("{")[0]
        base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        assert name in kinds or kinds[base] == "histogram", name


def ask(url: str, auth: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url)
    if auth is not None:
        basic = base64.b64encode(auth.encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_f6_a_second_port_has_ping_and_metrics_and_nothing_else(
    agent_factory: Any,
) -> None:
    port = free_port()
    settings = (
        f'[sandbox]\nminimum_level = "rlimits"\n[metrics.server]\nport = {port}\n'
    )
    agent = agent_factory(settings=settings)
    url = f"http://127.0.0.1:{port}"

    status, text = ask(f"{url}/metrics")

    assert ask(f"{url}/ping") == (200, "pong")
    assert status == 200
    for name in ("disk_free_bytes", "clock_seconds", "memory_bytes", "cpus"):
        assert float(read(text)[f"edgewhisk_{name}{{{NODE}}}"]) > 0
    assert ask(f"{url}/api/v1", agent.key)[0] == 404
    assert ask(f"{url}/edge/v1/node", agent.system_key)[0] == 404


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_what_an_action_prints_shows_up_under_its_name(agent: Any) -> None:
    code = (
        "def main(args):\n"
        "    print('::metric answers', 42, 'counter', 'to=all')\n"
        "    return {}\n"
    )
    for method, path, body in (
        ("PUT", "actions/deep", {"exec": {"kind": "python:default", "code": code}}),
        ("POST", "actions/deep?blocking=true", {}),
    ):
        request = urllib.request.Request(
            f"{agent.url}/api/v1/namespaces/_/{path}",
            json.dumps(body).encode(),
            method=method,
        )
        basic = base64.b64encode(agent.key.encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=10).close()

    _, text = ask(f"{agent.url}/metrics")

    own = f'{NODE},namespace="guest",action="deep",to="all"'
    assert read(text)[f"edgewhisk_action_answers_total{{{own}}}"] == "42"
