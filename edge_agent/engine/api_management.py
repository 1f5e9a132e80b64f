"""`/whisk.system/apimgmt`: what `wsk api` and the clients' `routes` call (B78-B83).

Three built-in web actions. Who calls is told by the key that was sent with the request,
never by its parameters; `accesstoken` and `spaceguid` are for gateways elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from edge_agent.engine.builtins import Builtin
from edge_agent.model.api_documents import (
    completed,
    empty_document,
    with_operation,
    without,
)
from edge_agent.model.apis import Api, Document, check_path, operations_of, read_api
from edge_agent.model.errors import BuiltinError
from edge_agent.model.jobs import Identity
from edge_agent.model.limits import MEBIBYTE
from edge_agent.model.names import SYSTEM_NAMESPACE, FullName
from edge_agent.store.apis import ApiStore

PACKAGE = "apimgmt"
_ANNOTATIONS = {"web-export": True, "require-whisk-auth": True}
#: Its URL begins like the REST API's.
_TAKEN = "v1"
#: Of one namespace, and of one document (ours).
_APIS_MOST = 1000
_DOCUMENT_BYTES = MEBIBYTE
_FAILED_STATUS = 502

Arguments = Mapping[str, Any]


class ApiManagement:
    """Creates, shows and deletes APIs; one change at a time."""

    def __init__(self, apis: ApiStore) -> None:
        self._apis = apis
        self._changing = asyncio.Lock()

    def builtins(self) -> list[Builtin]:
        return [
            Builtin(
                FullName(SYSTEM_NAMESPACE, name, PACKAGE),
                _answering(failure, call),
                _ANNOTATIONS,
            )
            for name, failure, call in (
                ("createApi", "API creation failure", self._create),
                ("getApi", "API retrieval failure", self._get),
                ("deleteApi", "API deletion failure", self._delete),
            )
        ]

    async def _create(self, namespace: str, arguments: Arguments) -> Any:
        if namespace == _TAKEN:
            raise BuiltinError(f"the namespace '{namespace}' cannot have APIs.")
        wanted = _read_json(arguments.get("apidoc"), "apidoc")
        host_url = _host_url(arguments)
        async with self._changing:
            if "swagger" in wanted:
                document = _uploaded(wanted, namespace, host_url)
            else:
                document = self._extended(wanted, namespace, arguments)
            api = read_api(namespace, document)
            self._check_room(api)
            await self._apis.put(api)
        return _shown(api, host_url)

    async def _get(self, namespace: str, arguments: Arguments) -> Any:
        host_url = _host_url(arguments)
        found = [
            _shown(api, host_url)
            for api in self._apis.of(namespace).values()
            if _is_wanted(api, arguments)
        ]
        named = {"id": "Not Used", "key": "Not Used"}
        return {"apis": [{**named, "value": value} for value in found]}

    async def _delete(self, namespace: str, arguments: Arguments) -> Any:
        wanted = _argument(arguments, "basepath") or _argument(arguments, "apiname")
        path, verb = _argument(arguments, "relpath"), _argument(arguments, "operation")
        if wanted is None:
            raise BuiltinError("basepath is required.")
        if verb and not path:
            raise BuiltinError("When specifying an operation, the path is required.")
        async with self._changing:
            api = next(self._named(namespace, wanted), None)
            if api is None:
                raise BuiltinError(f"API '{wanted}' does not exist.")
            left = None if path is None else _left(api, path, verb)
            if left is None or not left.operations:
                await self._apis.delete(api)
            else:
                await self._apis.put(left)
        return {}

    def _extended(
        self, wanted: Document, namespace: str, arguments: Arguments
    ) -> Document:
        """The document of the base path with one operation more."""
        base_path = check_path(
            wanted.get("gatewayBasePath"), "the gatewayBasePath field"
        )
        known = self._apis.of(namespace).get(base_path)
        title = wanted.get("apiName")
        document = known.document if known else empty_document(base_path, title)
        extension = f".{_argument(arguments, 'responsetype') or 'json'}"
        return with_operation(document, wanted, extension=extension, own=namespace)

    def _named(self, namespace: str, wanted: str) -> Iterator[Api]:
        """By base path, or by name when it does not begin with a slash (B81)."""
        for api in self._apis.of(namespace).values():
            if wanted == (api.base_path if wanted.startswith("/") else api.title):
                yield api

    def _check_room(self, api: Api) -> None:
        own = self._apis.of(api.namespace)
        if api.base_path not in own and len(own) >= _APIS_MOST:
            raise BuiltinError(f"there are {_APIS_MOST} APIs; delete some first.")
        size = len(msgspec.json.encode(api.document))
        if size > _DOCUMENT_BYTES:
            raise BuiltinError(
                f"the document is too large: {size} > {_DOCUMENT_BYTES} bytes."
            )


def _answering(
    failure: str, call: Callable[[str, Arguments], Awaitable[Any]]
) -> Callable[[Identity, dict[str, Any]], Awaitable[Any]]:
    """`call` as a web action: an answer over HTTP, refusals as 502 (B83)."""

    async def answer(identity: Identity, arguments: dict[str, Any]) -> Any:
        try:
            body = await call(_namespace(identity, arguments), arguments)
        except BuiltinError as error:
            text = f"{failure}: {error}"
            refusal = {"statusCode": _FAILED_STATUS, "body": {"error": text}}
            raise BuiltinError(text, shown=refusal) from error
        return {"statusCode": 200, "body": body}

    return answer


def _namespace(identity: Identity, arguments: Arguments) -> str:
    """A web action runs as its owner; only then the server has set `__ow_user`."""
    if identity.namespace == SYSTEM_NAMESPACE:
        return str(arguments.get("__ow_user", SYSTEM_NAMESPACE))
    return identity.namespace


def _uploaded(wanted: Document, namespace: str, host_url: str) -> Document:
    if wanted.get("gatewayBasePath"):
        raise BuiltinError("swagger and gatewayBasePath are mutually exclusive.")
    document = _read_json(wanted["swagger"], "swagger")
    return completed(document, own=namespace, host_url=host_url)


def _read_json(value: Any, what: str) -> Document:
    """An object, or the JSON text of one."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BuiltinError(
                f"{what} field cannot be parsed. Ensure it is valid JSON."
            ) from error
    if not isinstance(value, dict):
        raise BuiltinError(f"{what} is required: a JSON object or the text of one.")
    return value


def _left(api: Api, path: str, verb: str | None) -> Api:
    method = verb.lower() if verb else None
    return read_api(api.namespace, without(api.document, path, method))


def _is_wanted(api: Api, arguments: Arguments) -> bool:
    """Whether an API is among those asked for: by base path or name, path and verb."""
    wanted = _argument(arguments, "basepath")
    if wanted and wanted != (api.base_path if wanted.startswith("/") else api.title):
        return False
    name = _argument(arguments, "apiname")
    if name and name != api.title:
        return False
    path, verb = _argument(arguments, "relpath"), _argument(arguments, "operation")
    return any(
        path in (None, one) and verb in (None, method, method.upper())
        for one, method, _ in operations_of(api.document)
    )


def _shown(api: Api, host_url: str) -> Document:
    base = "" if api.base_path == "/" else api.base_path
    return {
        "namespace": "Not Used",
        "gwApiActivated": True,
        "tenantId": "Not Used",
        "gwApiUrl": f"{host_url}/api/{quote(api.namespace)}{base}",
        "apidoc": api.document,
    }


def _argument(arguments: Arguments, key: str) -> str | None:
    value = arguments.get(key)
    return value if isinstance(value, str) and value else None


def _host_url(arguments: Arguments) -> str:
    """Where the caller has reached the node."""
    headers = arguments.get("__ow_headers")
    if not isinstance(headers, dict):
        headers = {}
    scheme = "https" if headers.get("x-forwarded-proto") == "https" else "http"
    return f"{scheme}://{headers.get('host', 'localhost')}"
