"""Changing the document of an API, an operation at a time (B79-B84). Pure."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from edge_agent.model.apis import (
    CONFIGURATION,
    EXTENSIONS,
    OPENWHISK,
    REQUEST_PATH,
    SECRET_HEADER,
    VERBS,
    Document,
    check_path,
    is_parameter,
    operations_of,
    split_path,
)
from edge_agent.model.errors import BuiltinError
from edge_agent.model.names import OWN_NAMESPACE

_WORD = re.compile(r"[A-Za-z0-9]+")
_RESPONSES = {"default": {"description": "Default response"}}


def empty_document(base_path: str, title: str | None) -> Document:
    return {
        "swagger": "2.0",
        "info": {"title": title or base_path, "version": "1.0.0"},
        "basePath": base_path,
        "paths": {},
        CONFIGURATION: {"assembly": {"execute": []}, "cors": {"enabled": True}},
    }


def with_operation(
    document: Document, endpoint: Document, *, extension: str, own: str
) -> Document:
    """The document with what `endpoint` (an `apidoc` of B79) asks for.

    Args:
        document: it is not changed.
        endpoint: fields as clients send them.
        extension: how the action answers, one of EXTENSIONS.
        own: the caller's namespace, which `_` stands for.

    Raises:
        BuiltinError: a field is missing or cannot be.
    """
    document = deepcopy(document)
    path = check_path(_text(endpoint, "gatewayPath"), "the gatewayPath field")
    method = _text(endpoint, "gatewayMethod").lower()
    if method not in VERBS:
        raise BuiltinError(f"'{method}' is not a valid API verb.")
    if extension not in EXTENSIONS:
        raise BuiltinError(f"'{extension[1:]}' is not a valid response type.")
    action = endpoint.get("action")
    if not isinstance(action, dict):
        raise BuiltinError("apidoc is missing the action field.")
    _drop(document, path, method)
    operation_id = _free_id(document, operation_name(method, path))
    url = _text(action, "backendUrl", "action")
    url = next((url.removesuffix(e) for e in EXTENSIONS if url.endswith(e)), url)
    target = f"{url}{extension}{REQUEST_PATH if _has_parameters(path) else ''}"
    document["paths"].setdefault(path, {})[method] = {
        "operationId": operation_id,
        "parameters": endpoint.get("pathParameters") or _path_parameters(path),
        OPENWHISK: _openwhisk(action, url=f"{url}{extension}", own=own),
        "responses": deepcopy(_RESPONSES),
    }
    _cases(document).append(_case(operation_id, target, action.get("secureKey")))
    return document


def completed(document: Document, *, own: str, host_url: str) -> Document:
    """An uploaded document with what clients insist on filled in (B84)."""
    document = deepcopy(document)
    for path, method, operation in operations_of(document):
        if not operation.get("operationId"):
            operation["operationId"] = _free_id(document, operation_name(method, path))
        operation.setdefault("responses", deepcopy(_RESPONSES))
        named = operation.get(OPENWHISK)
        if isinstance(named, dict):
            if named.get("namespace") in (None, "", OWN_NAMESPACE):
                named["namespace"] = own
            place = f"{named['namespace']}/{named.get('package') or 'default'}"
            url = f"{host_url}/api/v1/web/{place}/{named.get('action')}.http"
            named["url"] = named.get("url") or url
    return document


def without(document: Document, path: str, method: str | None) -> Document:
    """The document without a path, or without one operation of it.

    Raises:
        BuiltinError: there is none such.
    """
    document = deepcopy(document)
    found = {m for p, m, _ in operations_of(document) if p == path}
    if not found or (method is not None and method not in found):
        verb = "" if method is None else f" with operation '{method}'"
        raise BuiltinError(f"path '{path}'{verb} does not exist in the API.")
    for one in found if method is None else {method}:
        _drop(document, path, one)
    return document


def operation_name(method: str, path: str) -> str:
    """`get` and `/p/{id}` are `getPId`."""
    words = _WORD.findall(path)
    return method + "".join(word[:1].upper() + word[1:] for word in words)


def _openwhisk(action: Document, *, url: str, own: str) -> Document:
    name = _text(action, "name", "action")
    package, _, alone = name.rpartition("/")
    namespace = _text(action, "namespace", "action")
    return {
        "url": url,
        "namespace": own if namespace == OWN_NAMESPACE else namespace,
        "package": package or "default",
        "action": alone,
    }


def _case(operation_id: str, target: str, secret: Any) -> Document:
    steps: list[Document] = []
    if isinstance(secret, str | int | float) and not isinstance(secret, bool):
        line = {"set": f"message.headers.{SECRET_HEADER}", "value": str(secret)}
        steps.append({"set-variable": {"actions": [line]}})
    steps.append({"invoke": {"target-url": target, "verb": "keep"}})
    return {"operations": [operation_id], "execute": steps}


def _cases(document: Document) -> list[Document]:
    """The list in the assembly to which calls are added."""
    configuration = document.setdefault(CONFIGURATION, {})
    steps = configuration.setdefault("assembly", {}).setdefault("execute", [])
    for step in steps:
        if "operation-switch" in step:
            found: list[Document] = step["operation-switch"].setdefault("case", [])
            return found
    added: list[Document] = []
    steps.append({"operation-switch": {"case": added}})
    return added


def _drop(document: Document, path: str, method: str) -> None:
    methods = document["paths"].get(path, {})
    key = next((key for key in methods if key.lower() == method), None)
    if key is None:
        return
    gone = methods.pop(key).get("operationId")
    if not any(key.lower() in VERBS for key in methods):
        del document["paths"][path]
    cases = _cases(document)
    for case in cases:
        case["operations"] = [one for one in case.get("operations", []) if one != gone]
    cases[:] = [case for case in cases if case["operations"]]


def _free_id(document: Document, wanted: str) -> str:
    taken = {
        operation.get("operationId") for _, _, operation in operations_of(document)
    }
    while wanted in taken:
        wanted += "_"
    return wanted


def _has_parameters(path: str) -> bool:
    return any(map(is_parameter, split_path(path)))


def _path_parameters(path: str) -> list[Document]:
    return [
        {
            "name": segment[1:-1],
            "in": "path",
            "description": "Default description",
            "required": True,
            "type": "string",
        }
        for segment in split_path(path)
        if is_parameter(segment)
    ]


def _text(document: Document, key: str, of: str = "apidoc") -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise BuiltinError(f"{of} is missing the {key} field")
    return value
