"""The client against a host that answers, refuses, hangs up and is not there."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from controller.fleet.client import Client, OpenWhiskError
from controller.fleet.retry import Retry
from controller.fleet.target import Target
from controller.fleet.transport import Late
from controller.fleet.wire import ActionBody, RuleBody
from edge_agent.model.entities import Exec

ID = "0123456789abcdef0123456789abcdef"
SUCCESS = {"status": "success", "success": True, "result": {"a": 1}, "size": 7}
FAILURE = {
    "status": "application error",
    "success": False,
    "result": {"error": "no"},
}
REFUSED = {"error": "no such thing", "code": "tid"}
WITH_ID = {"x_openwhisk_activation_id": ID}


def record(response: dict[str, Any] = SUCCESS) -> dict[str, Any]:
    return {
        "namespace": "guest",
        "name": "hello",
        "version": "0.0.1",
        "subject": "guest",
        "activationId": ID,
        "start": 1,
        "end": 3,
        "duration": 2,
        "response": response,
        "logs": [],
        "annotations": [],
        "publish": False,
    }


async def test_an_action_is_put_with_its_key_and_only_what_is_given(
    host: Any, client: Client
) -> None:
    host.says(200, {"namespace": "guest", "name": "a", "exec": {"kind": "python:3"}})
    body = ActionBody(exec=Exec(kind="python:default", code="x"))
    action = await client.put_action("pkg/a b", body)
    assert action.exec.kind == "python:3"
    method, path, sent = host.seen[0]
    assert method == "PUT"
    assert path == "/api/v1/namespaces/_/actions/pkg/a%20b?overwrite=true"
    assert json.loads(sent) == {"exec": {"kind": "python:default", "code": "x"}}
    key = base64.b64encode(host.target.key.encode()).decode()
    assert host.headers[0]["Authorization"] == f"Basic {key}"


async def test_a_rooted_name_names_its_own_namespace(host: Any, client: Client) -> None:
    host.says(202, {"activationId": ID})
    await client.post("/whisk.system/mqtt/publish", b'{"topic":"t"}')
    assert host.paths == [
        "POST /api/v1/namespaces/whisk.system/actions/mqtt/publish?blocking=false"
    ]


async def test_a_blocking_success_gives_the_record(host: Any, client: Client) -> None:
    host.says(200, record(), **WITH_ID)
    outcome = await client.invoke("hello", b'{"x":1}', wait_ms=500)
    assert outcome.success
    assert bytes(outcome.result) == b'{"a": 1}'
    assert outcome.activation_id == ID
    assert host.paths[0].endswith("?blocking=true&timeout=500")


async def test_a_failing_action_is_an_outcome_not_an_error(
    host: Any, client: Client
) -> None:
    host.says(502, record(FAILURE), **WITH_ID)
    outcome = await client.invoke("hello")
    assert not outcome.success
    assert outcome.response is not None
    assert outcome.response.status == "application error"
    assert len(host.seen) == 1


async def test_a_wait_that_is_over_leaves_the_activation_id(
    host: Any, client: Client
) -> None:
    host.says(202, {"activationId": ID})
    outcome = await client.invoke("hello")
    assert (outcome.activation_id, outcome.response) == (ID, None)
    assert not outcome.success


async def test_an_array_is_a_result_although_no_record_comes(
    host: Any, client: Client
) -> None:
    host.says(200, [1, 2], **WITH_ID)
    outcome = await client.invoke("hello")
    assert outcome.success
    assert json.loads(bytes(outcome.result)) == [1, 2]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_host_is_asked_again(
    host: Any, client: Client, status: int
) -> None:
    host.says(status, REFUSED).says(status, REFUSED).says(202, {"activationId": ID})
    assert await client.post("hello") == ID
    assert len(host.seen) == 3


async def test_a_busy_host_is_asked_no_more_than_the_attempts(
    host: Any, client: Client
) -> None:
    host.says(503, REFUSED, Retry_After="0")
    with pytest.raises(OpenWhiskError) as raised:
        await client.post("hello")
    assert (raised.value.status, raised.value.maybe_done) == (503, False)
    assert len(host.seen) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 500, 502])
async def test_any_other_refusal_is_final(
    host: Any, client: Client, status: int
) -> None:
    host.says(status, REFUSED)
    with pytest.raises(OpenWhiskError, match="no such thing") as raised:
        await client.invoke("hello")
    assert (raised.value.status, raised.value.code) == (status, "tid")
    assert len(host.seen) == 1


@pytest.mark.parametrize("call", ["post", "invoke", "fire"])
async def test_what_may_have_been_accepted_is_not_sent_again(
    host: Any, client: Client, call: str
) -> None:
    host.hangs_up().says(202, {"activationId": ID})
    with pytest.raises(OpenWhiskError) as raised:
        await getattr(client, call)("hello")
    assert (raised.value.status, raised.value.maybe_done) == (0, True)
    assert len(host.seen) == 1


async def test_what_only_reads_is_sent_again_over_a_broken_connection(
    host: Any, client: Client
) -> None:
    host.hangs_up().hangs_up().says(200, record())
    assert (await client.get_activation(ID)).activation_id == ID


async def test_a_host_that_is_not_there_is_tried_again_and_surely_untouched(
    closed_port: int,
) -> None:
    target = Target(url=f"http://127.0.0.1:{closed_port}", key="u:k")
    async with Client(target, retry=Retry(attempts=2, first_s=0.01)) as client:
        with pytest.raises(OpenWhiskError, match="cannot connect") as raised:
            await client.post("hello")
    assert not raised.value.maybe_done


async def test_a_host_that_comes_back_gets_the_post(
    host: Any, closed_port: int
) -> None:
    import asyncio

    from aiohttp import web

    host.says(202, {"activationId": ID})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", host.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    target = Target(url=f"http://127.0.0.1:{closed_port}", key="u:k")
    async with Client(target, retry=Retry(attempts=20, most_s=0.1)) as client:
        posting = asyncio.ensure_future(client.post("hello"))
        await asyncio.sleep(0.3)
        await web.TCPSite(runner, "127.0.0.1", closed_port).start()
        assert await posting == ID
    await runner.cleanup()


async def test_no_answer_in_time_is_an_error_and_not_tried_again(host: Any) -> None:
    host.sleeps(3)
    async with Client(host.target, timeout_s=0.2) as client:
        with pytest.raises(Late, match="no answer within"):
            await client.list_actions()
    assert len(host.seen) == 1


async def test_an_answer_that_is_not_openwhisk_is_an_error(
    host: Any, client: Client
) -> None:
    host.says(200, "<html>hello</html>")
    with pytest.raises(OpenWhiskError, match="not what an OpenWhisk host says"):
        await client.get_action("hello")


async def test_a_long_list_is_paged(host: Any, client: Client) -> None:
    item = {"namespace": "guest", "name": "a", "exec": {"binary": False}}
    host.says(200, [item] * 200).says(200, [item] * 5)
    assert len(await client.list_actions(limit=1000)) == 205
    assert host.paths[1].endswith("?limit=200&skip=200")


async def test_a_fire_without_active_rule_has_no_activation(
    host: Any, client: Client
) -> None:
    host.says(204, "")
    assert await client.fire("t") is None


async def test_waiting_polls_until_the_record_is_written(
    host: Any, client: Client
) -> None:
    host.says(404, REFUSED).says(404, REFUSED).says(200, record())
    assert (await client.wait(ID, timeout_s=2)).duration == 2


async def test_waiting_gives_up(host: Any, client: Client) -> None:
    host.says(404, REFUSED)
    with pytest.raises(OpenWhiskError) as raised:
        await client.wait(ID, timeout_s=0.1)
    assert raised.value.status == 404


async def test_rules_are_read_with_their_status(host: Any, client: Client) -> None:
    host.says(
        200,
        {
            "namespace": "guest",
            "name": "r",
            "status": "active",
            "trigger": {"path": "guest", "name": "t"},
            "action": {"path": "guest", "name": "a"},
        },
    )
    rule = await client.put_rule("r", RuleBody(trigger="/_/t", action="/_/a"))
    assert (rule.status, rule.action.name) == ("active", "a")


async def test_the_system_key_opens_our_own_routes(host: Any) -> None:
    host.says(200, {"node": "pi"})
    target = Target(url=host.url, key="u:k", system_key="s:k")
    async with Client(target) as client:
        assert await client.edge("node") == {"node": "pi"}
    assert host.paths == ["GET /edge/v1/node"]
    assert base64.b64decode(host.headers[0]["Authorization"][6:]) == b"s:k"
