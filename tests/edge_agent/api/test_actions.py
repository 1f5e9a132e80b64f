from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge_agent.model.activations import Answer as Said
from edge_agent.model.activations import Cause, Gone
from edge_agent.sandbox.base import Ran

ACTIVATION_ID = "x-openwhisk-activation-id"


async def test_a64_blocking_success_returns_the_record(server: Any) -> None:
    await server.put_action()

    answer = await server.invoke(body={"n": 1})

    assert answer.status == 200
    assert answer.body["response"] == {
        "status": "success",
        "success": True,
        "result": {"n": 1},
        "size": 7,
    }
    assert answer.body["activationId"] == answer.headers[ACTIVATION_ID]
    assert {"start", "end", "duration", "subject", "version"} <= answer.body.keys()


async def test_a64_logs_are_in_the_record_but_not_in_the_answer(server: Any) -> None:
    server.factory.said_to_run = Ran(Said(b"{}"), logs=("2026 stdout: hi",))
    await server.put_action()

    answer = await server.invoke()
    activation_id = answer.headers[ACTIVATION_ID]
    stored = await server.record(activation_id)

    assert answer.body["logs"] == []
    assert stored["logs"] == ["2026 stdout: hi"]
    logs = await server("GET", f"activations/{activation_id}/logs")
    assert logs.body == {"logs": ["2026 stdout: hi"]}


async def test_a65_result_returns_the_result_alone(server: Any) -> None:
    await server.put_action()

    answer = await server.invoke(query="&result=true", body={"n": 1})

    assert answer.body == {"n": 1}


@pytest.mark.parametrize("query", ["", "&result=true"])
async def test_a66_an_array_goes_alone_whatever_was_asked(
    server: Any, query: str
) -> None:
    server.factory.said_to_run = Said(b' [{"error":"x"}]')
    await server.put_action()

    answer = await server.invoke(query=query)

    assert (answer.status, answer.body) == (200, [{"error": "x"}])
    stored = await server.record(answer.headers[ACTIVATION_ID])
    assert stored["response"]["result"] == [{"error": "x"}]


async def test_a67_an_application_error_is_502_without_code(server: Any) -> None:
    server.factory.said_to_run = Said(b'{"error":"bad","more":1}')
    await server.put_action()

    answer = await server.invoke()
    only = await server.invoke(query="&result=true")

    assert (answer.status, only.status) == (502, 502)
    assert answer.body["response"]["status"] == "application error"
    assert only.body == {"error": "bad"}


async def test_a68_a_developer_error_is_502(server: Any) -> None:
    server.factory.said_to_run = Gone(Cause.EXITED)
    await server.put_action()

    answer = await server.invoke()

    assert answer.status == 502
    assert answer.body["response"]["status"] == "action developer error"


async def test_a69_a_whisk_error_is_500_with_the_record(server: Any) -> None:
    server.factory.fail_creates = 100
    await server.put_action()

    answer = await server.invoke()

    assert answer.status == 500
    assert answer.body["response"]["status"] == "whisk internal error"
    assert answer.headers[ACTIVATION_ID] == answer.body["activationId"]


async def test_a70_a_wait_that_expires_is_202_and_the_action_goes_on(
    server: Any,
) -> None:
    server.factory.hold_runs = True
    await server.put_action()

    answer = await server.invoke(query="&timeout=50", body={"n": 1})
    missing = await server("GET", f"activations/{answer.body['activationId']}")
    server.factory.busy[0].release()
    stored = await server.record(answer.body["activationId"])

    assert (answer.status, missing.status) == (202, 404)
    assert answer.body == {"activationId": answer.headers[ACTIVATION_ID]}
    assert stored["response"]["result"] == {"n": 1}


async def test_a63_non_blocking_is_202_and_result_is_ignored(server: Any) -> None:
    await server.put_action()

    answer = await server("POST", "actions/a?result=true", {"n": 1})

    assert answer.status == 202
    stored = await server.record(answer.body["activationId"])
    assert stored["response"]["result"] == {"n": 1}


async def test_a73_a_final_parameter_may_not_be_given(server: Any) -> None:
    await server.put_action(
        parameters=[{"key": "k", "value": 1}],
        annotations=[{"key": "final", "value": True}],
    )

    refused = await server.invoke(body={"k": 2})
    fine = await server.invoke(query="&result=true", body={"j": 2})

    assert (refused.status, refused.has_cors) == (400, True)
    assert refused.error.startswith("Request defines parameters that are not allowed")
    assert fine.body == {"k": 1, "j": 2}


async def test_a75_a_full_queue_is_503(server: Any) -> None:
    await server.put_action()
    await server.services.engine.stop()

    answer = await server.invoke()

    assert answer.status == 503
    assert answer.error == (
        "The server is currently unavailable "
        "(because it is overloaded or down for maintenance)."
    )


async def test_a27_newest_come_first_and_pages_are_cut(server: Any) -> None:
    for name in ("a", "b", "c"):
        await server.put_action(name)
    await server.put_action("b?overwrite=true")

    everything = await server("GET", "actions")
    page = await server("GET", "actions?skip=1&limit=1")
    count = await server("GET", "actions?count=true&skip=2&limit=1")

    assert [a["name"] for a in everything.body] == ["b", "c", "a"]
    assert [a["name"] for a in page.body] == ["c"]
    assert count.body == {"actions": 1}


async def test_b12_a_list_item_has_no_parameters_and_no_code(server: Any) -> None:
    await server.put_action()

    (item,) = (await server("GET", "actions")).body

    assert item["exec"] == {"binary": False}
    assert "parameters" not in item


async def test_b13_code_false_leaves_the_code_out(server: Any) -> None:
    await server.put_action()

    answer = await server("GET", "actions/a?code=false")

    assert answer.body["exec"] == {"kind": "python:3.11", "binary": False}


async def test_b21_built_in_actions_are_open_to_all_and_nobodys_to_change(
    server: Any,
) -> None:
    base = "/api/v1/namespaces/whisk.system"

    packages = await server("GET", f"{base}/packages")
    action = await server("GET", f"{base}/actions/utils/shout")
    called = await server(
        "POST", f"{base}/actions/utils/shout?blocking=true&result=true", {"text": "a"}
    )

    assert [p["name"] for p in packages.body] == ["utils"]
    assert action.body["exec"] == {"kind": "builtin", "binary": False}
    assert called.body == {"loud": "A"}
    for identity in (server.guest, server.system):
        for method, path in (
            ("PUT", "actions/utils/shout?overwrite=true"),
            ("DELETE", "actions/utils/shout"),
            ("PUT", "actions/utils/more"),
            ("PUT", "packages/utils?overwrite=true"),
            ("DELETE", "packages/utils?force=true"),
        ):
            body = {} if method == "PUT" else None
            answer = await server(method, f"{base}/{path}", body, identity=identity)
            assert answer.status == 403, (identity.namespace, method, path)


async def test_a52_others_may_only_use_what_is_published(server: Any) -> None:
    base = "/api/v1/namespaces/whisk.system"
    code = {"exec": {"kind": "python:3.11", "code": "x"}}
    for path, body in (
        ("packages/pub", {"publish": True}),
        ("packages/priv", {}),
        ("actions/pub/a", code),
        ("actions/priv/a", code),
        ("actions/a", code | {"publish": True}),
    ):
        answer = await server("PUT", path, body, identity=server.system)
        assert answer.status == 200

    async def refused(method: str, path: str, name: str) -> None:
        answer = await server(method, f"{base}/{path}", {} if method != "GET" else None)
        assert answer.status == 403
        assert answer.error.endswith(f"not authorized to access '{name}'.")

    assert (await server("GET", f"{base}/actions/pub/a")).status == 200
    assert (await server("POST", f"{base}/actions/pub/a", {})).status == 202
    await refused("GET", "actions/priv/a", "whisk.system/priv")
    await refused("POST", "actions/priv/a", "whisk.system/priv")
    await refused("POST", "actions/a", "whisk.system/a")
    await refused("PUT", "actions/pub/a", "whisk.system/pub/a")
    await refused("GET", "actions", "whisk.system")
    await refused("GET", "limits", "whisk.system")
    await refused("POST", "triggers/t", "whisk.system/t")


async def test_a54a_deleting_waits_for_no_one(server: Any) -> None:
    await server.put_action()

    answers = await asyncio.gather(*(server("DELETE", "actions/a") for _ in range(4)))

    assert sorted(answer.status for answer in answers) == [200, 404, 404, 404]
