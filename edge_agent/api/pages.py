"""Lists: one page of a collection, or its count (A27)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from edge_agent.api import query
from edge_agent.api.answers import answer_json
from edge_agent.api.call import Call
from edge_agent.api.written import Written

T = TypeVar("T")


def answer_page(
    call: Call, collection: str, entities: Sequence[T], item: Callable[[T], Any]
) -> Written:
    page = asked_page(call, collection)
    if page.count:
        return answer_json(call, {collection: max(0, len(entities) - page.skip)})
    shown = entities[page.skip : page.skip + page.limit]
    return answer_json(call, [item(entity) for entity in shown])


def asked_page(call: Call, collection: str) -> query.Page:
    """The page that the query asks for; MalformedQuery as A60 says."""
    return query.page(call.query, collection, call.services.limits.system)
