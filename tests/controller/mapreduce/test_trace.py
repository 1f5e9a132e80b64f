"""A run over a node that traces: the run's span, and those of its chunks below it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controller.fleet.target import Target
from controller.mapreduce.run import run_job
from controller.mapreduce.trace import context_of, endpoint, traced

JOB = """
config = {"chunks": 3}
def args_for_action(index): return {"number": index}
def action(params): return {"square": params["number"] ** 2}
def reduce(results): return sum(result["square"] for result in results)
"""


class Collector:
    url = ""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []

    async def take(self, request: web.Request) -> web.Response:
        document = await request.json()
        self.spans += document["resourceSpans"][0]["scopeSpans"][0]["spans"]
        return web.json_response({})

    def named(self, start: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"].startswith(start)]


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    found = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    found.url = f"http://{host}:{port}"
    yield found
    await runner.cleanup()


async def test_the_chunks_of_a_run_are_in_its_trace(
    agent_factory: Any, collector: Collector, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    settings = '[sandbox]\nminimum_level = "rlimits"\n'
    settings += f'[tracing]\nendpoint = "{collector.url}/v1/traces"\n'
    agent = await asyncio.to_thread(agent_factory, settings=settings)
    job = tmp_path / "squares.py"
    await asyncio.to_thread(job.write_text, JOB)

    report = await run_job(job, [Target(agent.url, agent.key)], settings={})
    async with asyncio.timeout(10):
        while len(collector.named("action ")) < 3:
            await asyncio.sleep(0.05)

    [run] = collector.named("map-reduce ")
    assert report.result == 5
    assert run["status"] == {"code": 1}
    for chunk in collector.named("action "):
        assert chunk["traceId"] == run["traceId"]
        assert chunk["parentSpanId"] == run["spanId"]


async def test_a_run_that_fails_says_so_and_a_collector_that_is_away_is_no_failure(
    collector: Collector,
) -> None:
    with pytest.raises(ValueError, match="why"):
        async with traced("r", environ={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}):
            raise ValueError("why")
    away = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/"}
    async with traced("r", environ=away):
        pass

    [span] = collector.spans
    assert span["status"] == {"code": 2, "message": "why"}
    assert span["traceId"] == context_of("r").trace_id


def test_the_usual_variables_say_where() -> None:
    assert endpoint({}) == ""
    base = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}
    assert endpoint(base) == "http://c:4318/v1/traces"
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://d/x"}
    assert endpoint(base | own) == "http://d/x"
