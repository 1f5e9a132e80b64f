"""The OpenAPI document of what is served, and the page about it (A23, A24).

Made once, when it is first asked for, from the table of operations and from the classes
that are sent.
"""

from __future__ import annotations

import html
import re
from functools import cache
from http import HTTPStatus
from typing import Any, get_args

import msgspec
from msgspec import UnsetType

from edge_agent import __version__
from edge_agent.api.answers import (
    NO_CORS,
    REST,
    answer_json,
    answer_page_of_html,
    answer_redirect,
)
from edge_agent.api.call import Call
from edge_agent.api.namespaces import Limits
from edge_agent.api.openapi_paths import OPERATIONS, Operation
from edge_agent.api.wire import (
    ActionItem,
    PackageItem,
    RuleAnswer,
    RuleItem,
    TriggerAnswer,
    TriggerItem,
)
from edge_agent.api.written import Written
from edge_agent.model.activations import ActivationRecord, ActivationSummary, Response
from edge_agent.model.entities import Action
from edge_agent.model.limits import NamespaceLimits
from edge_agent.model.subjects import SubjectPatch, SubjectPut

Schema = dict[str, Any]

_SENT = (
    *(Action, ActionItem, TriggerAnswer, TriggerItem, RuleAnswer, RuleItem),
    *(PackageItem, ActivationRecord, ActivationSummary, Response, Limits),
    *(SubjectPut, SubjectPatch, NamespaceLimits),
)
_STRING: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_KEY_VALUES: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"key": _STRING, "value": {}},
        "required": ["key"],
    },
}
_COMMON: Schema = {
    "version": _STRING,
    "publish": _FLAG,
    "annotations": _KEY_VALUES,
    "parameters": _KEY_VALUES,
}


def _object(required: tuple[str, ...] = (), **properties: Any) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    return {**found, "required": [*required]} if required else found


#: What is sent to us, and what has no class or one that has no schema.
_COMPONENTS: Schema = {
    "Error": _object(("error", "code"), error=_STRING, code=_STRING),
    "Accepted": _object(("activationId",), activationId=_STRING),
    "Logs": _object(("logs",), logs={"type": "array", "items": _STRING}),
    "PackageAnswer": _object(
        ("namespace", "name", "version", "binding"),
        namespace=_STRING,
        name=_STRING,
        binding={"type": "object"},
        actions={"type": "array"},
        feeds={"type": "array"},
        **_COMMON,
    ),
    "RuleStatus": _object(("status",), status={"enum": ["active", "inactive"]}),
    "ActionPut": _object(
        exec=_object(("kind",), kind=_STRING, code=_STRING, main=_STRING),
        limits=_object(timeout=_COUNT, memory=_COUNT, logs=_COUNT),
        **_COMMON,
    ),
    "TriggerAnswerPut": _object(**_COMMON),
    "RuleAnswerPut": _object(trigger=_STRING, action=_STRING, **_COMMON),
    "PackageAnswerPut": _object(
        binding=_object(namespace=_STRING, name=_STRING), **_COMMON
    ),
}
_MEDIA = {
    "text": "text/plain",
    "page": "text/html",
    "events": "text/event-stream",
    "bytes": "application/vnd.sqlite3",
    "any": "*/*",
}
_QUERY: Schema = {
    **dict.fromkeys(("count", "code", "overwrite", "force", "docs"), _FLAG),
    **dict.fromkeys(("blocking", "result"), _FLAG),
    **dict.fromkeys(("name", "state", "after", "reason", "namespace"), _STRING),
    **dict.fromkeys(("skip", "since", "upto"), _COUNT),
    "limit": {"type": "integer", "minimum": 0, "maximum": 200},
    "timeout": {"type": "integer", "minimum": 1, "maximum": 60_000},
}
_BRACES = re.compile(r"{(\w+)}")


async def document(call: Call) -> Written:
    return answer_json(call, make_document())


async def root_document(call: Call) -> Written:
    info = {"title": "EdgeWhisk", "version": __version__}
    paths = {
        "/api/v1/api-docs": {
            "get": {
                "summary": "The document of the whole API.",
                "responses": {"200": {"description": HTTPStatus.OK.phrase}},
            }
        }
    }
    answer = {"openapi": "3.1.0", "info": info, "paths": paths}
    return answer_json(call, answer, cors=NO_CORS)


async def root_docs(call: Call) -> Written:
    return answer_redirect(call, "docs/index.html?url=/api-docs", cors=NO_CORS)


async def docs(call: Call) -> Written:
    return answer_redirect(call, "docs/index.html?url=/api/v1/api-docs", cors=REST)


async def page(call: Call) -> Written:
    return answer_page_of_html(call, make_page())


@cache
def make_document() -> Schema:
    _, components = msgspec.json.schema_components(
        _SENT, ref_template="#/components/schemas/{name}"
    )
    for one in _SENT:
        _leave_open(components[one.__name__], one)
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        methods = paths.setdefault(operation.path, {})
        methods[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "EdgeWhisk", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {**components, **_COMPONENTS},
            "securitySchemes": {"key": {"type": "http", "scheme": "basic"}},
        },
    }


@cache
def make_page() -> str:
    rows = "".join(
        f"<tr><td>{one.method}<td><code>{html.escape(one.path)}</code>"
        f"<td>{html.escape(one.summary)}\n"
        for one in OPERATIONS
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>EdgeWhisk</title>\n"
        "<h1>EdgeWhisk</h1><p>The whole as a document: "
        '<a href="/api/v1/api-docs">OpenAPI</a>.\n'
        f"<table>{rows}</table></html>\n"
    )


def _operation(operation: Operation) -> Schema:
    refusal = {"schema": {"$ref": "#/components/schemas/Error"}}
    responses = {
        str(status): {
            "description": _phrase(status),
            "content": {"application/json": refusal},
        }
        for status in operation.refusals
    }
    for status, schema in operation.answers.items():
        responses[str(status)] = {
            "description": _phrase(status),
            **_content(schema),
        }
    found: Schema = {
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": responses,
    }
    if operation.body is not None:
        found["requestBody"] = _content(operation.body)
    if operation.keyed:
        found["security"] = [{"key": []}]
    return found


def _parameters(operation: Operation) -> list[Schema]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {**_STRING, "minLength": 1},
        }
        for name in _BRACES.findall(operation.path)
    ]
    in_query = [
        {"name": name, "in": "query", "schema": _QUERY[name]}
        for name in operation.query
    ]
    return [*in_path, *in_query]


def _content(schema: str) -> Schema:
    if schema in ("none", "own"):
        return {}
    if schema in _MEDIA:
        return {"content": {_MEDIA[schema]: {}}}
    return {"content": {"application/json": {"schema": _schema(schema)}}}


def _schema(schema: str) -> Schema:
    """Of a list, `count=true` asks for its length instead."""
    if schema.startswith("["):
        items = _schema(schema[1:-1])
        return {"anyOf": [{"type": "array", "items": items}, {"type": "object"}]}
    if schema in ("string", "object"):
        return {"type": schema}
    return {"$ref": f"#/components/schemas/{schema}"} if schema else {}


def _phrase(status: int) -> str:
    return _PHRASES.get(status, "An answer of the action's own")


def _leave_open(component: Schema, sent: type) -> None:
    """A field that may be left out is not required, whatever stands behind it."""
    optional = {
        field.encode_name
        for field in msgspec.structs.fields(sent)
        if UnsetType in get_args(field.type)
    }
    required = component.get("required", [])
    component["required"] = [name for name in required if name not in optional]


_PHRASES = {int(status): status.phrase for status in HTTPStatus}
