"""What a web action costs, against a blocking invocation of the same one."""

from __future__ import annotations

from dataclasses import replace

from controller.bench.actions import ECHO, data_body
from controller.bench.invoking import BLOCKING, KILOBYTE, ROUNDS, by_turns
from controller.bench.load import Request
from controller.bench.row import Row, median_ratio, rounded
from controller.bench.server import Agent, Cores, agent, on_cores

CODE = ECHO.replace('params["data"]', 'params.get("data")')


def web(cores: Cores) -> list[Row]:
    """On both cores, as a node runs."""
    with on_cores(cores.all), agent(cores=cores.all) as node:
        node.put("page", CODE, annotations={"web-export": True})
        body = data_body(KILOBYTE)
        blocking = node.invoke("page", body, query=f"{BLOCKING}&result=true")
        rounds = by_turns(_web(node, body), blocking, rounds=ROUNDS)
    medians = [(page.p50_ms, call.p50_ms) for page, call in rounds]
    return [
        Row(
            name="web",
            what="web action, 1 KB in and out, warm: p50",
            value=median_ratio(medians),
            unit="x a blocking invoke",
            sign="<=",
            aim=1.2,
            detail={
                "web_ms": rounded([ms for ms, _ in medians]),
                "invoke_ms": rounded([ms for _, ms in medians]),
            },
        )
    ]


def _web(node: Agent, body: bytes) -> Request:
    url = f"{node.url}/api/v1/web/guest/default/page.json"
    return replace(node.request("/", body=body), url=url, authorization="")
