"""From a request line to the handler that answers it (A1, A13, A25, A62).

The table is ours because OpenWhisk's paths are: a trailing slash means something after
a package and nothing after a collection, names are percent-decoded segment by segment,
who calls is checked before whether the path exists, and "no such method" is a 404 under
`/api/v1` and a 405 outside. Reading a path is pure and remembered; a request costs one
look-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote

from aiohttp import web

from edge_agent.api import (
    actions,
    activations,
    backup,
    edge,
    events,
    gateway,
    namespaces,
    openapi,
    packages,
    probes,
    rules,
    service,
    settings,
    subjects,
    triggers,
    web_actions,
)
from edge_agent.api.answers import REST, SERVICE, answer_text
from edge_agent.api.auth import authenticate
from edge_agent.api.call import Call, Methods, Target
from edge_agent.api.web_request import split_extension
from edge_agent.model.errors import IllegalName, MethodNotAllowed, NoRoute, UriTooLong
from edge_agent.model.names import (
    check_activation_id,
    check_name,
    check_namespace,
)

URI_MOST = 8192
#: Longer paths are read anew: strangers must not fill the memory.
REMEMBERED_MOST = 256
_REST_METHODS = frozenset(("PUT", "GET", "DELETE", "POST", "HEAD", "PATCH"))
#: In the order in which a 405 names them.
_SERVED = ("GET", "PUT", "PATCH", "POST", "DELETE")
_REST_ALLOW = "PUT, GET, DELETE, POST, HEAD, OPTIONS, PATCH"
#: In place of a package's name in the URL of a web action.
_NO_PACKAGE = "default"

#: (collection, shape of what follows it) -> method -> handler.
ROUTES: Mapping[tuple[str, str], Methods] = {
    ("actions", "list"): {"GET": actions.list_all},
    ("actions", "package"): {"GET": actions.list_package},
    ("actions", "entity"): {
        "GET": actions.get,
        "PUT": actions.put,
        "DELETE": actions.delete,
        "POST": actions.invoke,
    },
    ("triggers", "list"): {"GET": triggers.list_all},
    ("triggers", "entity"): {
        "GET": triggers.get,
        "PUT": triggers.put,
        "DELETE": triggers.delete,
        "POST": triggers.fire,
    },
    ("rules", "list"): {"GET": rules.list_all},
    ("rules", "entity"): {
        "GET": rules.get,
        "PUT": rules.put,
        "DELETE": rules.delete,
        "POST": rules.set_status,
    },
    ("packages", "list"): {"GET": packages.list_all},
    ("packages", "entity"): {
        "GET": packages.get,
        "PUT": packages.put,
        "DELETE": packages.delete,
    },
    ("activations", "list"): {"GET": activations.list_all},
    ("activations", "record"): {"GET": activations.get},
    ("activations", "result"): {"GET": activations.get_result},
    ("activations", "logs"): {"GET": activations.get_logs},
    ("limits", "list"): {"GET": namespaces.limits},
}

#: Paths outside the collections that need no key.
OPEN: Mapping[str, Methods] = {
    "/": {"GET": service.info},
    "/ping": {"GET": service.ping},
    "/metrics": {"GET": probes.metrics},
    "/invokers": {"GET": probes.invokers},
    "/invokers/healthy/count": {"GET": probes.healthy_count},
    "/invokers/ready": {"GET": probes.ready},
    "/activation": {"GET": probes.in_flight},
    "/activation/count": {"GET": probes.in_flight_count},
    "/disable": {"POST": probes.disable},
    "/docs": {"GET": openapi.root_docs},
    "/docs/index.html": {"GET": openapi.page},
    "/api-docs": {"GET": openapi.root_document},
    "/api/v1": {"GET": service.api_info},
    "/api/v1/": {"GET": service.api_info},
    "/api/v1/docs": {"GET": openapi.docs},
    "/api/v1/docs/index.html": {"GET": openapi.page},
    "/api/v1/api-docs": {"GET": openapi.document},
}

#: Paths outside the collections that need one.
KEYED: Mapping[str, Methods] = {
    "/api/v1/namespaces": {"GET": namespaces.list_all},
    "/api/v1/namespaces/": {"GET": namespaces.list_all},
    "/edge/v1/node": {"GET": edge.node},
    "/edge/v1/load": {"GET": edge.load},
    "/edge/v1/backup": {"GET": backup.download},
    "/edge/v1/activations/stream": {"GET": edge.stream},
    "/edge/v1/settings": {
        "GET": settings.get,
        "PUT": settings.put,
        "PATCH": settings.patch,
        "DELETE": settings.delete,
    },
    "/edge/v1/subjects": {"GET": subjects.list_all},
    "/edge/v1/events": {
        "GET": events.list_all,
        "POST": events.replay_all,
        "DELETE": events.drop_all,
    },
    "/edge/v1/events/stream": {"GET": events.stream},
}

#: Web actions, in the order in which a 405 names the methods.
WEB: Methods = dict.fromkeys(
    ("GET", "DELETE", "POST", "PUT", "HEAD", "OPTIONS", "PATCH"), web_actions.handle
)

#: What `/api/NAMESPACE/…` is served with depends on the API.
GATEWAY: Methods = dict.fromkeys(WEB, gateway.serve)

#: `/edge/v1/COLLECTION/NAME`.
NAMED: Mapping[str, Methods] = {
    "events": {"GET": events.get, "POST": events.replay, "DELETE": events.drop},
    "subjects": {
        "GET": subjects.get,
        "PUT": subjects.put,
        "PATCH": subjects.patch,
        "DELETE": subjects.delete,
    },
    "limits": {
        "GET": subjects.get_limits,
        "PUT": subjects.put_limits,
        "PATCH": subjects.patch_limits,
        "DELETE": subjects.delete_limits,
    },
}


async def dispatch(call: Call) -> web.StreamResponse:
    """Authenticate, find the handler and let it answer."""
    request = call.request
    line = request.raw_path
    if len(line) > URI_MOST:
        raise UriTooLong(URI_MOST)
    if not line.startswith("/"):
        line = request.rel_url.raw_path_qs
    path, _, call.query = line.partition("?")
    target = call.target = read_path(path)
    method = request.method
    if method == "OPTIONS" and method not in target.methods:
        return answer_text(call, "OK", cors=REST if target.rest else SERVICE)
    if target.keyed:
        call.identity = authenticate(call)
    handler = target.methods.get(method)
    if handler is None:
        raise _no_handler(target, method)
    if target.illegal:
        raise IllegalName(target.illegal)
    return await handler(call)


def read_path(path: str) -> Target:
    return _remembered(path) if len(path) <= REMEMBERED_MOST else _read_path(path)


def _read_path(path: str) -> Target:
    rest = path == "/api/v1" or path.startswith("/api/v1/")
    if path in OPEN or path in KEYED:
        methods = OPEN.get(path) or KEYED[path]
        return Target(methods, rest=rest, keyed=path in KEYED)
    match path.split("/")[1:]:
        case ["api", "v1", "namespaces", namespace, collection, *names]:
            return _read_collection(namespace, collection, names)
        case ["api", "v1", "web", namespace, package, action, *_]:
            return _read_web(path, unquote(namespace), unquote(package), action)
        case ["edge", "v1", collection, name] if collection in NAMED:
            return Target(NAMED[collection], rest=False, name=unquote(name))
        case ["api", namespace, *_] if namespace not in ("", "v1"):
            return _read_gateway(path, unquote(namespace))
        case [*_]:
            return Target(rest=rest, keyed=rest or path.startswith("/edge/v1/"))


_remembered = lru_cache(maxsize=1024)(_read_path)


def _read_collection(namespace: str, collection: str, names: list[str]) -> Target:
    """Read what follows `/api/v1/namespaces`."""
    shape, package, name = _shape(collection, [unquote(segment) for segment in names])
    methods = ROUTES.get((collection, shape))
    if methods is None:
        return Target()
    namespace = unquote(namespace)
    return Target(
        methods,
        namespace=namespace,
        package=package,
        name=name,
        illegal=_illegal(namespace, collection, package, name),
    )


def _read_web(path: str, namespace: str, package: str, action: str) -> Target:
    """A URL with a name that cannot be is none of a web action's (B61)."""
    name, extension = split_extension(unquote(action))
    try:
        check_namespace(namespace)
        check_name(package)
        check_name(name)
    except IllegalName:
        return Target()
    # /api/v1/web/NAMESPACE/PACKAGE/ACTION: what follows stays as it was sent.
    rest = path.split("/", 7)[7:]
    return Target(
        WEB,
        keyed=False,
        namespace=namespace,
        package=None if package == _NO_PACKAGE else package,
        name=name,
        extension=extension,
        path="".join(f"/{part}" for part in rest),
    )


def _read_gateway(path: str, namespace: str) -> Target:
    # /api/NAMESPACE: what follows stays as it was sent.
    rest = path.split("/", 3)[3:]
    return Target(
        GATEWAY,
        rest=False,
        keyed=False,
        namespace=namespace,
        path="".join(f"/{part}" for part in rest),
    )


def _shape(collection: str, rest: list[str]) -> tuple[str, str | None, str]:
    """Shape, package and name of what follows a collection."""
    if rest in ([], [""]):
        return "list", None, ""
    match collection, rest:
        case "activations", [name] | [name, ""]:
            return "record", None, name
        case "activations", [name, "result" | "logs" as part]:
            return part, None, name
        case "actions", [package, ""]:
            return "package", None, package
        case "actions", [package, name]:
            return "entity", package, name
        case _:
            return "entity" if len(rest) == 1 else "", None, rest[0]


def _illegal(namespace: str, collection: str, package: str | None, name: str) -> str:
    try:
        check_namespace(namespace)
        if package is not None:
            check_name(package)
        if name and collection == "activations":
            check_activation_id(name)
        elif name:
            check_name(name)
    except IllegalName as error:
        return str(error)
    return ""


def _no_handler(target: Target, method: str) -> MethodNotAllowed | NoRoute:
    if target.methods in (WEB, GATEWAY):
        return MethodNotAllowed(", ".join(WEB))
    if target.rest:
        return NoRoute() if method in _REST_METHODS else MethodNotAllowed(_REST_ALLOW)
    if target.keyed and not target.methods:
        return NoRoute()
    known = [known for known in _SERVED if known in target.methods]
    return MethodNotAllowed(", ".join([*known, "OPTIONS"]))
