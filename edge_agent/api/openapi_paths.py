"""Every operation that is served, for the document at `/api/v1/api-docs` (A24).

A test holds this table against the router's tables, both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_PAGE = ("limit", "skip", "count")
_ENTITY = (400, 401, 403, 404, 406, 409)
_PUT = (*_ENTITY, 413, 415, 422, 503)
_LIST = (400, 401, 403, 404, 406)
_RUN = (*_PUT, 408, 429)
_EVENTS = (400, 401, 404, 406, 503)
_ADMIN = (400, 401, 403, 404, 406, 408, 409, 413, 415, 503)
_NS = "/api/v1/namespaces/{namespace}"


class Operation(NamedTuple):
    """`answers` and `refusals` are all statuses; an answer names its schema.

    A schema is a component, `[component]` for a list of it, `text`, `` for any JSON,
    `none` for no body, or `own` for what the document cannot know.
    """

    method: str
    path: str
    summary: str
    answers: Mapping[int, str]
    refusals: tuple[int, ...] = ()
    query: tuple[str, ...] = ()
    body: str | None = None
    keyed: bool = True


def _open(path: str, summary: str, **answers: str) -> Operation:
    found = {int(status[1:]): schema for status, schema in answers.items()}
    return Operation("GET", path, summary, found, (406,), keyed=False)


def _get(path: str, summary: str, schema: str, *query: str) -> Operation:
    return Operation("GET", path, summary, {200: schema}, _LIST, query)


def _collection(name: str, one: str, schema: str, item: str) -> tuple[Operation, ...]:
    """What all collections of entities have in common (A27-A42)."""
    place = f"{_NS}/{name}"
    each = f"{place}/{{name}}"
    code = ("code",) if name == "actions" else ()
    force = ("force",) if name == "packages" else ()
    return (
        _get(place, f"List {name}.", f"[{item}]", *_PAGE),
        Operation("GET", each, f"Get {one}.", {200: schema}, _ENTITY, code),
        Operation(
            "PUT",
            each,
            f"Create {one}, or update it.",
            {200: schema},
            _PUT,
            ("overwrite",),
            body=f"{schema}Put",
        ),
        Operation(
            "DELETE", each, f"Delete {one}.", {200: schema}, (*_ENTITY, 503), force
        ),
    )


def _packaged(operation: Operation) -> Operation:
    """The same for what is in a package."""
    path = f"{_NS}/actions/{{package}}/{{name}}"
    return operation._replace(
        path=path, summary=f"{operation.summary[:-1]} of a package."
    )


def _admin(
    method: str, path: str, summary: str, *query: str, body: str | None = None
) -> Operation:
    """What only the node's own key may ask for."""
    return Operation(method, path, summary, {200: ""}, _ADMIN, query, body)


_ACTIONS = (
    *_collection("actions", "an action", "Action", "ActionItem"),
    Operation(
        "POST",
        f"{_NS}/actions/{{name}}",
        "Invoke an action.",
        {200: "", 202: "Accepted", 500: "", 502: ""},
        _RUN,
        ("blocking", "result", "timeout"),
        body="object",
    ),
)

_WEB_STATUSES: Mapping[int, str] = dict.fromkeys(range(200, 600), "own")

OPERATIONS: tuple[Operation, ...] = (
    _open("/", "What the node allows and runs.", s200=""),
    _open("/ping", "Whether anybody is there.", s200="text"),
    Operation("GET", "/metrics", "Figures, for Prometheus.", {200: "text"}, (401, 403)),
    _open("/invokers", "Invokers and their states: a node tells of none.", s200=""),
    _open("/invokers/healthy/count", "How many invokers are healthy.", s200=""),
    _open("/invokers/ready", "Whether actions can run.", s200="", s500=""),
    _open("/activation", "Activations in flight: id and action.", s200=""),
    _open("/activation/count", "How many activations are in flight.", s200=""),
    Operation(
        "POST",
        "/disable",
        "Tell the probes that the node is not ready.",
        {200: "text"},
        (401,),
    ),
    _open("/docs", "To the page about this document.", s308="page"),
    _open("/docs/index.html", "A page about this document.", s200="page"),
    _open("/api-docs", "Where the documents are.", s200=""),
    _open("/api/v1", "Version and build.", s200=""),
    _open("/api/v1/", "Version and build.", s200=""),
    _open("/api/v1/docs", "To the page about this document.", s308="page"),
    _open("/api/v1/docs/index.html", "A page about this document.", s200="page"),
    _open("/api/v1/api-docs", "This document.", s200=""),
    _get("/api/v1/namespaces", "The caller's namespaces.", "[string]"),
    _get("/api/v1/namespaces/", "The caller's namespaces.", "[string]"),
    *_ACTIONS,
    _get(f"{_NS}/actions/{{package}}/", "List a package.", "[ActionItem]", *_PAGE),
    *(_packaged(one) for one in _ACTIONS[1:]),
    *_collection("triggers", "a trigger", "TriggerAnswer", "TriggerItem"),
    Operation(
        "POST",
        f"{_NS}/triggers/{{name}}",
        "Fire a trigger.",
        {202: "Accepted", 204: "none"},
        _RUN,
        body="object",
    ),
    *_collection("rules", "a rule", "RuleAnswer", "RuleItem"),
    Operation(
        "POST",
        f"{_NS}/rules/{{name}}",
        "Switch a rule on or off.",
        {200: "text"},
        _PUT,
        body="RuleStatus",
    ),
    *_collection("packages", "a package", "PackageAnswer", "PackageItem"),
    _get(
        f"{_NS}/activations",
        "List activations.",
        "[ActivationSummary]",
        "limit",
        "skip",
        "count",
        "name",
        "since",
        "upto",
        "docs",
    ),
    _get(f"{_NS}/activations/{{id}}", "Get an activation.", "ActivationRecord"),
    _get(f"{_NS}/activations/{{id}}/result", "Get its result.", "Response"),
    _get(f"{_NS}/activations/{{id}}/logs", "Get its logs.", "Logs"),
    _get(f"{_NS}/limits", "The limits of a namespace.", "Limits"),
    *(
        Operation(
            method,
            "/api/v1/web/{namespace}/{package}/{name}",
            "Run a web action; its answer is its own.",
            _WEB_STATUSES,
            body=None if method in ("GET", "HEAD", "OPTIONS") else "any",
            keyed=False,
        )
        for method in ("GET", "DELETE", "POST", "PUT", "HEAD", "OPTIONS", "PATCH")
    ),
    *(
        Operation(
            method,
            "/api/{namespace}/{path}",
            "Call an API that `wsk api create` has made; what it answers is its own.",
            _WEB_STATUSES,
            body=None if method in ("GET", "HEAD", "OPTIONS") else "any",
            keyed=False,
        )
        for method in ("GET", "DELETE", "POST", "PUT", "HEAD", "OPTIONS", "PATCH")
    ),
    Operation(
        "GET", "/edge/v1/node", "The state of the node.", {200: ""}, (401, 403, 406)
    ),
    Operation("GET", "/edge/v1/load", "How busy the node is.", {200: ""}, (401, 406)),
    Operation(
        "GET",
        "/edge/v1/backup",
        "The whole store as a file.",
        {200: "bytes"},
        (401, 403, 503),
    ),
    Operation(
        "GET",
        "/edge/v1/activations/stream",
        "Activations as they end.",
        {200: "events"},
        (401,),
    ),
    Operation(
        "GET",
        "/edge/v1/events",
        "Accepted events that have not ended well.",
        {200: ""},
        _EVENTS,
        ("limit", "state", "after"),
    ),
    Operation(
        "POST",
        "/edge/v1/events",
        "Replay dead letters.",
        {200: ""},
        _EVENTS,
        ("reason",),
    ),
    Operation(
        "DELETE",
        "/edge/v1/events",
        "Drop dead letters.",
        {200: ""},
        _EVENTS,
        ("reason",),
    ),
    Operation(
        "GET",
        "/edge/v1/events/stream",
        "What happens to events.",
        {200: "events"},
        (401,),
    ),
    Operation(
        "GET", "/edge/v1/events/{id}", "Get an accepted event.", {200: ""}, _EVENTS
    ),
    Operation(
        "POST",
        "/edge/v1/events/{id}",
        "Replay a dead letter.",
        {202: ""},
        (*_EVENTS, 409),
    ),
    Operation(
        "DELETE",
        "/edge/v1/events/{id}",
        "Drop an event.",
        {204: "none"},
        (*_EVENTS, 409),
    ),
    _admin("GET", "/edge/v1/settings", "Settings that may be changed at run time."),
    _admin("PUT", "/edge/v1/settings", "Override these alone.", body="object"),
    _admin("PATCH", "/edge/v1/settings", "Override these as well.", body="object"),
    _admin("DELETE", "/edge/v1/settings", "Take all overrides back."),
    _admin("GET", "/edge/v1/subjects", "All subjects with their keys."),
    _admin("GET", "/edge/v1/subjects/{name}", "Get a subject."),
    _admin(
        "PUT",
        "/edge/v1/subjects/{name}",
        "Make a subject, or give it namespaces.",
        body="SubjectPut",
    ),
    _admin(
        "PATCH",
        "/edge/v1/subjects/{name}",
        "Block a subject, or let it in again.",
        body="SubjectPatch",
    ),
    _admin("DELETE", "/edge/v1/subjects/{name}", "Delete a subject.", "namespace"),
    _admin("GET", "/edge/v1/limits/{namespace}", "A namespace's own limits."),
    _admin(
        "PUT",
        "/edge/v1/limits/{namespace}",
        "Give a namespace limits of its own.",
        body="NamespaceLimits",
    ),
    _admin(
        "PATCH",
        "/edge/v1/limits/{namespace}",
        "Change some of a namespace's own limits.",
        body="object",
    ),
    Operation(
        "DELETE",
        "/edge/v1/limits/{namespace}",
        "Take a namespace's own limits away.",
        {204: "none"},
        _ADMIN,
    ),
)
