"""The asynchronous OpenWhisk client.

    async with Client(target) as client:
        await client.put_action("hello", ActionBody(exec=...))
        outcome = await client.invoke("hello", b'{"name": "Ann"}')
        activation_id = await client.post("hello", b'{"name": "Ann"}')

Names are `name` or `pkg/name` in the target's namespace, or `/ns/[pkg/]name`.
Payloads and results are JSON text: map-reduce and the bridge move thousands per
second and have no use for Python objects in between.

A failing *action* is an outcome; what is raised is `OpenWhiskError` (see `transport`),
after the repeats that `retry` allows. One client may be used by many tasks at once.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from controller.fleet.lanes import Lanes
from controller.fleet.outcomes import read_outcome
from controller.fleet.pki import ssl_for
from controller.fleet.retry import NO_RETRY, Retry
from controller.fleet.target import Target, basic
from controller.fleet.transport import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    OpenWhiskError,
    Transport,
)
from controller.fleet.wire import (
    Accepted,
    ActionBody,
    ActionItem,
    Outcome,
    PackageBody,
    PackageView,
    RuleBody,
    RuleView,
    TriggerBody,
    TriggerView,
)
from edge_agent.model.activations import ActivationRecord, ActivationSummary
from edge_agent.model.entities import Action

__all__ = ["NO_RETRY", "Client", "OpenWhiskError", "Retry"]

POLL_FIRST_S = 0.02
POLL_MOST_S = 1.0
#: The longest list one GET gives (A27).
PAGE = 200

_NO_CONTENT, _NOT_FOUND = 204, 404
_Answered = TypeVar("_Answered")


class Client:
    """Talks to one target. Enter it before use.

    `timeout_s` is for one request, its blocking wait included. `lean`: thousands of
    small invocations a second are to come (see `lanes`).
    """

    def __init__(
        self,
        target: Target,
        *,
        retry: Retry | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
        connections: int = 256,
        lean: bool = False,
    ) -> None:
        self.target = target
        self._lean = lean
        self._lanes: Lanes | None = None
        self._retry = retry or Retry()
        self._timeout_s = timeout_s
        self._connections = connections
        self._opened: Transport | None = None

    async def __aenter__(self) -> Self:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections,
                ssl=ssl_for(ca=self.target.ca, insecure=self.target.insecure),
            ),
            timeout=aiohttp.ClientTimeout(
                total=self._timeout_s, sock_connect=CONNECT_TIMEOUT_S
            ),
            headers={"Authorization": self.target.authorization},
            skip_auto_headers=("Accept-Encoding", "User-Agent"),
        )
        self._lanes = self._made_lanes() if self._lean else None
        self._opened = Transport(
            self.target,
            session,
            retry=self._retry,
            timeout_s=self._timeout_s,
            lanes=self._lanes,
        )
        return self

    def _made_lanes(self) -> Lanes | None:
        """None where the general client's ways with certificates are needed."""
        tls = ssl_for(ca=self.target.ca, insecure=self.target.insecure)
        secure = self.target.url.startswith("https:")
        if secure and not isinstance(tls, ssl.SSLContext):
            return None
        return Lanes(
            URL(self.target.url),
            authorization=self.target.authorization,
            tls=tls if secure and isinstance(tls, ssl.SSLContext) else None,
            connections=self._connections,
            connect_timeout_s=CONNECT_TIMEOUT_S,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session = self._transport.session
        self._opened = None
        if self._lanes is not None:
            self._lanes.close()
        await session.close()

    @property
    def _transport(self) -> Transport:
        if self._opened is None:
            raise RuntimeError("the client is used outside `async with`")
        return self._opened

    # --- actions ----------------------------------------------------------------

    async def put_action(
        self, name: str, body: ActionBody, *, overwrite: bool = True
    ) -> Action:
        """Create or (with `overwrite`) update.

        Raises:
            OpenWhiskError: 409 when it exists and is not to be overwritten.
        """
        return await self._put("actions", name, body, Action, overwrite=overwrite)

    async def get_action(self, name: str, *, code: bool = True) -> Action:
        query = "" if code else "?code=false"
        return await self._get("actions", name, Action, query=query)

    async def delete_action(self, name: str) -> None:
        await self._delete("actions", name)

    async def list_actions(self, *, limit: int = PAGE) -> list[ActionItem]:
        return await self._list("actions", ActionItem, limit=limit)

    async def invoke(
        self,
        name: str,
        payload: bytes = b"{}",
        *,
        wait_ms: int | None = None,
        traceparent: str = "",
    ) -> Outcome:
        """Invoke and wait, at most `wait_ms` (the host's 60 s when None).

        With a `traceparent` the activation is in that trace, where the host traces.
        """
        query = "?blocking=true"
        if wait_ms is not None:
            query += f"&timeout={wait_ms}"
        url = self._transport.entity("actions", name, query)
        reply = await self._transport.send(
            "POST", url, payload, headers=_traced(traceparent), outcomes=True
        )
        return read_outcome(reply)

    async def post(
        self, name: str, payload: bytes = b"{}", *, traceparent: str = ""
    ) -> str:
        """Hand the work over and do not wait: the activation id."""
        url = self._transport.entity("actions", name, "?blocking=false")
        headers = _traced(traceparent)
        reply = await self._transport.send("POST", url, payload, headers=headers)
        return reply.activation_id or reply.decode(Accepted).activation_id

    # --- triggers, rules, packages ----------------------------------------------

    async def put_trigger(
        self, name: str, body: TriggerBody | None = None, *, overwrite: bool = True
    ) -> TriggerView:
        return await self._put(
            "triggers", name, body or TriggerBody(), TriggerView, overwrite=overwrite
        )

    async def get_trigger(self, name: str) -> TriggerView:
        return await self._get("triggers", name, TriggerView)

    async def delete_trigger(self, name: str) -> None:
        await self._delete("triggers", name)

    async def list_triggers(self, *, limit: int = PAGE) -> list[TriggerView]:
        return await self._list("triggers", TriggerView, limit=limit)

    async def fire(self, name: str, payload: bytes = b"{}") -> str | None:
        """Fire: the activation id, None when no rule of the trigger is active."""
        reply = await self._transport.send(
            "POST", self._transport.entity("triggers", name), payload
        )
        if reply.status == _NO_CONTENT:
            return None
        return reply.activation_id or reply.decode(Accepted).activation_id

    async def put_rule(
        self, name: str, body: RuleBody, *, overwrite: bool = True
    ) -> RuleView:
        return await self._put("rules", name, body, RuleView, overwrite=overwrite)

    async def get_rule(self, name: str) -> RuleView:
        return await self._get("rules", name, RuleView)

    async def set_rule(self, name: str, *, active: bool) -> None:
        status = b'{"status":"active"}' if active else b'{"status":"inactive"}'
        url = self._transport.entity("rules", name)
        await self._transport.send("POST", url, status, idempotent=True)

    async def delete_rule(self, name: str) -> None:
        await self._delete("rules", name)

    async def list_rules(self, *, limit: int = PAGE) -> list[RuleView]:
        return await self._list("rules", RuleView, limit=limit)

    async def put_package(
        self, name: str, body: PackageBody | None = None, *, overwrite: bool = True
    ) -> PackageView:
        return await self._put(
            "packages", name, body or PackageBody(), PackageView, overwrite=overwrite
        )

    async def get_package(self, name: str) -> PackageView:
        return await self._get("packages", name, PackageView)

    async def delete_package(self, name: str, *, force: bool = False) -> None:
        await self._delete("packages", name, query="?force=true" if force else "")

    async def list_packages(self, *, limit: int = PAGE) -> list[PackageView]:
        return await self._list("packages", PackageView, limit=limit)

    # --- activations ------------------------------------------------------------

    async def get_activation(self, activation_id: str) -> ActivationRecord:
        """The record. 404 until the activation has ended and was written."""
        return await self._get("activations", activation_id, ActivationRecord)

    async def list_activations(
        self,
        *,
        name: str | None = None,
        since: int | None = None,
        upto: int | None = None,
        skip: int = 0,
        limit: int = 30,
    ) -> list[ActivationSummary]:
        """Newest first; `since` and `upto` in epoch ms, both inclusive."""
        query = _query(name=name, since=since, upto=upto, skip=skip, limit=limit)
        url = self._transport.url("activations", "", query)
        reply = await self._transport.send("GET", url, idempotent=True)
        return reply.decode(list[ActivationSummary])

    async def count_activations(
        self, *, name: str | None = None, since: int | None = None
    ) -> int:
        query = _query(name=name, since=since, count="true")
        url = self._transport.url("activations", "", query)
        reply = await self._transport.send("GET", url, idempotent=True)
        return reply.decode(dict[str, int])["activations"]

    async def wait(
        self, activation_id: str, *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> ActivationRecord:
        """Poll until the record is there.

        Raises:
            OpenWhiskError: status 404 when it is not there in time.
        """
        until = time.monotonic() + timeout_s
        pause_s = POLL_FIRST_S
        while True:
            try:
                return await self.get_activation(activation_id)
            except OpenWhiskError as error:
                if error.status != _NOT_FOUND or time.monotonic() + pause_s > until:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, POLL_MOST_S)

    async def read(self, path: str) -> Any:
        """GET `/api/v1/namespaces/PATH`, decoded: what has no method of its own."""
        url = URL(f"{self.target.url}/api/v1/namespaces/{path}", encoded=True)
        reply = await self._transport.send("GET", url, idempotent=True)
        return reply.decode(Any)

    # --- our own extensions -----------------------------------------------------

    async def edge(self, path: str, *, method: str = "GET", body: object = None) -> Any:
        """Ask for `/edge/v1/PATH`: the answer decoded, None when it has no body.

        The system key is used when the target has one. 404 or 405 from a host that is
        no agent.
        """
        url = URL(f"{self.target.url}/edge/v1/{path}", encoded=True)
        reply = await self._transport.send(
            method,
            url,
            None if body is None else msgspec.json.encode(body),
            idempotent=method == "GET",
            headers=self.edge_headers,
        )
        return reply.decode(Any) if reply.body else None

    @property
    def edge_headers(self) -> dict[str, str]:
        """Whose key `/edge/v1` is asked with."""
        key = self.target.system_key
        return {"Authorization": basic(key)} if key else {}

    @property
    def session(self) -> aiohttp.ClientSession:
        """For what is no request and answer (`follow`)."""
        return self._transport.session

    async def _put(
        self,
        collection: str,
        name: str,
        body: msgspec.Struct,
        kind: type[_Answered],
        *,
        overwrite: bool,
    ) -> _Answered:
        query = "?overwrite=true" if overwrite else ""
        url = self._transport.entity(collection, name, query)
        text = msgspec.json.encode(body)
        reply = await self._transport.send("PUT", url, text, idempotent=overwrite)
        return reply.decode(kind)

    async def _get(
        self, collection: str, name: str, kind: type[_Answered], *, query: str = ""
    ) -> _Answered:
        url = self._transport.entity(collection, name, query)
        reply = await self._transport.send("GET", url, idempotent=True)
        return reply.decode(kind)

    async def _delete(self, collection: str, name: str, *, query: str = "") -> None:
        await self._transport.send(
            "DELETE", self._transport.entity(collection, name, query)
        )

    async def _list(
        self, collection: str, kind: type[_Answered], *, limit: int
    ) -> list[_Answered]:
        """Page through the collection: no host gives more than 200 at once."""
        found: list[_Answered] = []
        while len(found) < limit:
            wanted = min(PAGE, limit - len(found))
            url = self._transport.url(
                collection, "", f"?limit={wanted}&skip={len(found)}"
            )
            reply = await self._transport.send("GET", url, idempotent=True)
            page = reply.decode(list[kind])  # type: ignore[valid-type]
            found += page
            if len(page) < wanted:
                break
        return found


def _query(**given: Any) -> str:
    pairs = (
        f"{key}={quote(str(value), safe='/')}"
        for key, value in given.items()
        if value is not None
    )
    return "?" + "&".join(pairs)


def _traced(traceparent: str) -> dict[str, str] | None:
    return {"traceparent": traceparent} if traceparent else None
