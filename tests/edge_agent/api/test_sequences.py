"""Bindings and sequences as clients see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_agent.model.limits import SystemLimits
from edge_agent.settings import Settings


async def put_sequence(server: Any, name: str, *components: str) -> Any:
    body = {"exec": {"kind": "sequence", "components": list(components)}}
    return await server("PUT", f"actions/{name}?overwrite=true", body)


async def test_a64_the_answer_of_a_sequence_has_the_ids_of_its_components(
    server: Any,
) -> None:
    await server.put_action()
    assert (await put_sequence(server, "s", "/_/a", "/_/a")).status == 200

    answer = await server.invoke("s", body={"x": 1})

    assert answer.status == 200
    assert len(answer.body["logs"]) == 2
    for component in answer.body["logs"]:
        record = await server.record(component)
        assert record["cause"] == answer.body["activationId"]


async def test_a63_a_sequence_that_was_accepted_runs_as_one_row(server: Any) -> None:
    await server.put_action()
    await put_sequence(server, "s", "/_/a", "/_/a")

    accepted = await server("POST", "actions/s", {"x": 1})

    assert accepted.status == 202
    record = await server.record(accepted.body["activationId"])
    assert record["response"]["result"] == {"x": 1}
    assert len(record["logs"]) == 2


async def test_d19_a_chain_of_a_hundred_is_possible_by_settings(
    serving: Callable[..., Any],
) -> None:
    limits = SystemLimits(sequence_length=100)
    async with serving(Settings(limits=limits)) as server:
        await server.put_action()

        put = await put_sequence(server, "chain", *["/_/a"] * 100)
        beyond = await put_sequence(server, "longer", *["/_/a"] * 101)

        assert put.status == 200
        assert (beyond.status, beyond.error) == (
            400,
            "Too many actions in the sequence.",
        )


async def test_b44_a_binding_gives_its_parameters_to_its_providers_actions(
    server: Any,
) -> None:
    parameters = [{"key": "k", "value": "provider"}, {"key": "z", "value": 0}]
    await server("PUT", "packages/p", {"parameters": parameters})
    await server.put_action("p/a")
    bound = {"namespace": "_", "name": "p"}
    own = [{"key": "k", "value": "bound"}]
    await server("PUT", "packages/b", {"binding": bound, "parameters": own})

    answer = await server.invoke("b/a", body={"x": 1})

    assert answer.body["response"]["result"] == {"k": "bound", "z": 0, "x": 1}
    annotations = {a["key"]: a["value"] for a in answer.body["annotations"]}
    assert annotations["binding"] == "guest/b"
    assert annotations["path"] == "guest/p/a"
    for name in ("b/a", "p/a"):  # B34: found under either
        found = await server("GET", f"activations?name={name}&count=true")
        assert found.body == {"activations": 1}


@pytest.mark.parametrize("kind", ["nodejs:20", "python:3.11"])
async def test_b8_a_sequence_that_becomes_code_keeps_no_components(
    server: Any, kind: str
) -> None:
    await server.put_action()
    await put_sequence(server, "s", "/_/a")

    body = {"exec": {"kind": kind, "code": "x"}}
    answer = await server("PUT", "actions/s?overwrite=true", body)

    assert answer.body["parameters"] == []
    assert "components" not in answer.body["exec"]


@pytest.mark.parametrize("size", [10, 100_000])
async def test_b49_a_sequences_result_is_also_its_last_components(
    server: Any, size: int
) -> None:
    await server.put_action()
    await put_sequence(server, "inner", "/_/a", "/_/a")
    await put_sequence(server, "s", "/_/a", "/_/inner")
    given = {"x": "y" * size}

    answer = await server.invoke("s", body=given)

    assert answer.body["response"]["result"] == given
    _, inner = answer.body["logs"]
    components = (await server.record(inner))["logs"]
    for activation_id in (inner, *components, answer.body["activationId"]):
        record = await server.record(activation_id)
        assert record["response"]["result"] == given
    listed = (await server("GET", "activations?docs=true")).body
    assert [one["response"]["result"] for one in listed] == [given] * 5
