from __future__ import annotations

from typing import Any

ACTION = (
    'region="edge",stack="edgewhisk",namespace="guest",initiator="guest",action="a"'
)


async def test_e1_e12_an_ended_run_is_counted_under_upstreams_names(
    server: Any,
) -> None:
    await server.put_action()
    for _ in range(3):
        await server.invoke()

    answer = await server("GET", "/metrics", auth=" ")
    lines = dict(
        line.rsplit(" ", 1) for line in answer.text.splitlines() if line[0] != "#"
    )
    runs = [n for n in lines if n.startswith("openwhisk_action_activations_total{")]

    assert answer.status == 200
    assert [lines[name] for name in runs] == ["3"]
    assert runs[0].startswith(f"openwhisk_action_activations_total{{{ACTION},kind=")
    assert lines[f"openwhisk_action_coldStarts_total{{{ACTION}}}"] == "1"
    assert lines[f'openwhisk_action_status{{{ACTION},status="success"}}'] == "3"
    for name in ("waitTime_seconds", "duration_seconds", "response_size_bytes"):
        assert lines[f"openwhisk_action_{name}_count{{{ACTION}}}"] == "3"
        bucket = f'openwhisk_action_{name}_bucket{{{ACTION},le="+Inf"}}'
        assert lines[bucket] == "3"
    assert lines[f"openwhisk_action_initTime_seconds_count{{{ACTION}}}"] == "1"
    assert f"openwhisk_action_memory{{{ACTION}}}" in lines
