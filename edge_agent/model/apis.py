"""APIs of the gateway: Swagger documents whose operations run web actions (B78-B84).

The document is what a user gets back; what serving needs is read from it once. Its form
is that of OpenWhisk's API gateway: `x-openwhisk` names the action of an operation, and
the assembly in `x-ibm-configuration` what is sent to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from edge_agent.model.errors import BuiltinError, IllegalName
from edge_agent.model.names import OWN_NAMESPACE, FullName, check_name, check_namespace

VERBS = ("get", "put", "post", "delete", "patch", "head", "options")
EXTENSIONS = (".json", ".http", ".html", ".text", ".svg")
SECRET_HEADER = "X-Require-Whisk-Auth"  # noqa: S105 the name of a header
#: At the end of a target URL: the path of the request goes along.
REQUEST_PATH = "$(request.path)"
CONFIGURATION = "x-ibm-configuration"
OPENWHISK = "x-openwhisk"

Document = dict[str, Any]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path; `verb` is empty when the request's method is kept.

    A segment of `template` that is a name in braces matches anything.
    """

    method: str
    template: tuple[str, ...]
    action: FullName
    extension: str
    secret: str | None
    verb: str
    with_path: bool


class Api(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An API of a namespace under a base path; `cors` as its document says."""

    namespace: str
    base_path: str
    title: str
    document: Document
    operations: tuple[Operation, ...]
    cors: bool


class Match(NamedTuple):
    """The operations of the path that was asked for, and what its braces stand for."""

    api: Api
    operations: Mapping[str, Operation]
    parameters: Mapping[str, str]
    path: str


def read_api(namespace: str, document: Any) -> Api:
    """Raises BuiltinError, saying what is wrong with the document."""
    document = _object(document, "swagger")
    base_path = check_path(document.get("basePath"), "the basePath field")
    if "{" in base_path:
        raise BuiltinError(f"the base path '{base_path}' cannot have parameters.")
    info = _object(document.get("info"), "the info field of swagger")
    configuration = document.get(CONFIGURATION) or {}
    cors = _object(configuration, CONFIGURATION).get("cors")
    return Api(
        namespace=namespace,
        base_path=base_path,
        title=str(info.get("title") or base_path),
        document=document,
        operations=tuple(_operations(namespace, document)),
        cors=isinstance(cors, dict) and cors.get("enabled") is True,
    )


def check_path(path: Any, what: str) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        raise BuiltinError(f"{what} must be a path that begins with '/'.")
    return path


def match(apis: Mapping[str, Api], path: str) -> Match | None:
    """The API with the longest base path that serves `path` (as it was sent)."""
    segments = split_path(path)
    for api in sorted(apis.values(), key=lambda api: -len(api.base_path)):
        base = split_path(api.base_path)
        if segments[: len(base)] != base:
            continue
        rest = segments[len(base) :]
        found = [o for o in api.operations if _parameters(o, rest) is not None]
        if found:
            # A path without braces wins over one with them.
            best = min(found, key=lambda o: sum(map(is_parameter, o.template)))
            same = {o.method: o for o in found if o.template == best.template}
            relative = "/" + "/".join(path.strip("/").split("/")[len(base) :])
            return Match(api, same, _parameters(best, rest) or {}, relative)
    return None


def split_path(path: str) -> tuple[str, ...]:
    """Its segments, decoded; a slash at the end makes no difference."""
    stripped = path.strip("/")
    return tuple(unquote(part) for part in stripped.split("/")) if stripped else ()


def is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _parameters(
    operation: Operation, segments: tuple[str, ...]
) -> dict[str, str] | None:
    """What the braces of the operation's path stand for; None when it is another."""
    template = operation.template
    if len(template) != len(segments):
        return None
    found: dict[str, str] = {}
    for wanted, segment in zip(template, segments, strict=True):
        if is_parameter(wanted):
            found[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return found


# -- reading a document ------------------------------------------------------------


def _operations(namespace: str, document: Document) -> Iterator[Operation]:
    sent = _assembly(document)
    for path, method, operation in operations_of(document):
        where = f"'{method} {path}'"
        named = _object(operation.get(OPENWHISK), f"{OPENWHISK} of {where}")
        secret, verb, target = sent.get(operation.get("operationId"), (None, "", ""))
        url = named.get("url")
        segments = split_path(path)
        yield Operation(
            method=method,
            template=segments,
            action=_action(namespace, named, where),
            extension=_extension(url if isinstance(url, str) else ""),
            secret=secret,
            verb=verb,
            with_path=target.endswith(REQUEST_PATH) or any(map(is_parameter, segments)),
        )


def operations_of(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Path, method and operation of each."""
    paths = _object(document.get("paths"), "the paths field of swagger")
    for path, methods in paths.items():
        check_path(path, f"the path '{path}'")
        for method, operation in _object(methods, f"the path '{path}'").items():
            if method.lower() in VERBS:
                yield path, method.lower(), _object(operation, f"'{method} {path}'")


def _assembly(document: Document) -> dict[Any, tuple[str | None, str, str]]:
    """By operation: the action's secret, the method and the URL of its call."""
    found: dict[Any, tuple[str | None, str, str]] = {}
    try:
        steps = document.get(CONFIGURATION, {}).get("assembly", {}).get("execute", [])
        for step in steps:
            for case in step.get("operation-switch", {}).get("case", []):
                read = _case(case.get("execute", []))
                found |= dict.fromkeys(case.get("operations", []), read)
    except (AttributeError, TypeError) as error:
        raise BuiltinError(f"the assembly in {CONFIGURATION} is malformed.") from error
    return found


def _case(steps: list[Any]) -> tuple[str | None, str, str]:
    secret, verb, target = None, "", ""
    for step in steps:
        for action in step.get("set-variable", {}).get("actions", []):
            if str(action.get("set")).endswith(f".{SECRET_HEADER}"):
                secret = str(action.get("value"))
        invoke = step.get("invoke")
        if invoke is not None:
            verb = str(invoke.get("verb", "keep")).lower()
            target = str(invoke.get("target-url", ""))
    return secret, verb if verb in VERBS else "", target


def _action(namespace: str, named: Document, where: str) -> FullName:
    try:
        owner = str(named.get("namespace", OWN_NAMESPACE))
        package = named.get("package") or None
        return FullName(
            namespace if owner == OWN_NAMESPACE else check_namespace(owner),
            check_name(str(named.get("action", ""))),
            check_name(str(package)) if package not in (None, "default") else None,
        )
    except IllegalName as error:
        raise BuiltinError(
            f"{OPENWHISK} of {where} names no action: {error}"
        ) from error


def _extension(url: str) -> str:
    url = url.removesuffix(REQUEST_PATH)
    return next((one for one in EXTENSIONS if url.endswith(one)), ".http")


def _object(value: Any, what: str) -> Document:
    if not isinstance(value, dict):
        raise BuiltinError(f"{what} is missing or is not an object.")
    return value
