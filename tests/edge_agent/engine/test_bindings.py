"""Packages as callers may use them: bindings, rights, and binding circles (F5, A55)."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.engine.bindings import open_package
from edge_agent.engine.catalog_sequences import check_sequence
from edge_agent.model.entities import Binding, KeyValue, Package
from edge_agent.model.errors import (
    BadRequest,
    CircularBinding,
    Forbidden,
    NotFound,
    RequestError,
)
from edge_agent.model.jobs import Identity
from edge_agent.model.names import FullName

GUEST = Identity(subject="guest", namespace="guest", uuid="u", key="k")


def package(
    name: str, bound: str = "", *, publish: bool = False, **given: Any
) -> Package:
    namespace, _, own = name.partition("/")
    to = None
    if bound:
        to = Binding(**dict(zip(("namespace", "name"), bound.split("/"), strict=True)))
    parameters = [KeyValue(key=k, value=v) for k, v in given.items()]
    return Package(
        namespace=namespace,
        name=own,
        publish=publish,
        binding=to,
        parameters=parameters,
    )


def opened(name: str, *packages: Package) -> Any:
    known = {each.full_name: each for each in packages}
    return open_package(known.get, GUEST, FullName.parse(f"/{name}", own="guest"))


def test_b17_parameters_of_a_binding_lie_over_those_of_its_provider() -> None:
    found = opened(
        "guest/b",
        package("guest/b", "other/p", a=1),
        package("other/p", publish=True, a=0, z=0),
    )

    assert {p.key: p.value for p in found.parameters} == {"a": 1, "z": 0}
    assert found.binding == FullName("guest", "b")
    assert found.action_name(FullName("guest", "x", "b")) == FullName("other", "x", "p")


@pytest.mark.parametrize(
    ("name", "packages", "error"),
    [
        ("other/p", [package("other/p")], Forbidden("other/p")),
        ("other/p", [], Forbidden("other/p")),
        (
            "other/b",
            [package("other/b", "other/p", publish=True)],
            Forbidden("other/b"),
        ),
        ("guest/b", [package("guest/b", "other/p")], Forbidden("guest/b")),
        (
            "guest/b",
            [package("guest/b", "other/p"), package("other/p")],
            Forbidden("guest/b"),
        ),
        ("guest/b", [package("guest/b", "guest/p")], NotFound()),
        ("guest/p", [], NotFound()),
        ("guest/b", [package("guest/b", "guest/b")], CircularBinding("guest/b")),
    ],
)
def test_f5_a52_a55_what_may_not_be_read(
    name: str, packages: list[Package], error: RequestError
) -> None:
    with pytest.raises(type(error), match=str(error)):
        opened(name, *packages)


def test_a61c_a_sequence_is_found_under_the_name_of_a_binding_too() -> None:
    own, bound = FullName("guest", "s", "p"), FullName("guest", "s", "b")

    with pytest.raises(BadRequest, match="may not refer to itself"):
        check_sequence(own, [bound], expand=lambda _: (own, None), limit=50)


def test_a61c_what_nests_without_end_is_too_long() -> None:
    one, two = FullName("guest", "one"), FullName("guest", "two")
    others = {one: [two], two: [one]}

    with pytest.raises(BadRequest, match="Too many actions in the sequence"):
        check_sequence(
            FullName("guest", "s"), [one], expand=lambda n: (n, others[n]), limit=50
        )
