from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
async def linked(server: Any) -> Any:
    """Action `a`, trigger `t` and rule `r` between them."""
    await server.put_action()
    await server("PUT", "triggers/t", {"parameters": [{"key": "d", "value": 1}]})
    put = await server("PUT", "rules/r", {"trigger": "/_/t", "action": "/_/a"})
    assert put.status == 200
    return server


async def test_a35_a_fire_with_an_active_rule_is_202(linked: Any) -> None:
    answer = await linked("POST", "triggers/t", {"n": 2}, headers={"Foo": "Bar"})

    assert answer.status == 202
    assert answer.headers["x-openwhisk-activation-id"] == answer.body["activationId"]
    record = await linked.record(answer.body["activationId"])
    assert record["response"]["result"] == {"n": 2}
    assert "end" not in record


async def test_a88_the_action_sees_the_headers_of_the_fire_but_not_the_key(
    linked: Any,
) -> None:
    headers = {"Foo": "Bar", "X-Odd": "caf\udce9"}
    await linked("POST", "triggers/t", {"n": 2}, headers=headers)

    (summary,) = await _listed(linked, "a")
    record = await linked.record(summary["activationId"])

    result = record["response"]["result"]
    assert (result["d"], result["n"]) == (1, 2)
    assert result["__ow_headers"]["foo"] == "Bar"
    assert not {"authorization", "content-type"} & result["__ow_headers"].keys()


async def test_a35_a_fire_without_an_active_rule_is_204_and_leaves_nothing(
    linked: Any,
) -> None:
    await linked("POST", "rules/r", {"status": "inactive"})

    answer = await linked("POST", "triggers/t", {})

    assert (answer.status, answer.text, answer.has_cors) == (204, "", True)
    assert "Content-Type" not in answer.headers
    assert (await linked("GET", "activations")).body == []


async def test_b22_a_trigger_shows_its_rules_from_the_first_on(linked: Any) -> None:
    linked_once = await linked("GET", "triggers/t")
    await linked("DELETE", "rules/r")
    unlinked = await linked("GET", "triggers/t")
    fresh = await linked("PUT", "triggers/u", {})

    link = {"action": {"path": "guest", "name": "a"}, "status": "active"}
    assert linked_once.body["rules"] == {"guest/r": link}
    assert unlinked.body["rules"] == {}
    assert "rules" not in fresh.body


async def test_a37_a_trigger_made_anew_does_not_wake_its_old_rules(
    linked: Any,
) -> None:
    await linked("DELETE", "triggers/t")
    gone = await linked("GET", "rules/r")
    refused = await linked("POST", "rules/r", {"status": "active"})
    await linked("PUT", "triggers/t", {})

    fired = await linked("POST", "triggers/t", {})

    assert gone.body["status"] == "inactive"
    assert (refused.status, refused.error) == (
        404,
        "Only rules with existing triggers can be activated",
    )
    assert fired.status == 204


async def test_a36_a_rule_that_moves_leaves_its_old_trigger(linked: Any) -> None:
    await linked("PUT", "triggers/u", {})

    moved = await linked("PUT", "rules/r?overwrite=true", {"trigger": "/_/u"})

    assert moved.body["version"] == "0.0.2"
    assert (await linked("GET", "triggers/t")).body["rules"] == {}
    assert [*(await linked("GET", "triggers/u")).body["rules"]] == ["guest/r"]


@pytest.mark.parametrize("status", [None, 1, "zzz", ["active"], {}])
async def test_a39_another_rule_state_is_malformed(linked: Any, status: Any) -> None:
    answer = await linked("POST", "rules/r", {"status": status})

    assert answer.status == 400
    assert answer.error.endswith("is not a recognized rule state")


async def _listed(server: Any, name: str) -> list[dict[str, Any]]:
    import asyncio

    async with asyncio.timeout(5):
        while True:
            found = (await server("GET", f"activations?name={name}")).body
            if found:
                return found
            await asyncio.sleep(0.01)
