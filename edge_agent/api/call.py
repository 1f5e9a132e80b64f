"""One request on its way: what handlers are given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.web_request import BaseRequest

from edge_agent.engine.catalog import Catalog
from edge_agent.engine.engine import Engine
from edge_agent.engine.limits import Limits
from edge_agent.engine.overrides import Overrides
from edge_agent.engine.subjects import Subjects
from edge_agent.model.jobs import Identity
from edge_agent.model.names import OWN_NAMESPACE, FullName, new_activation_id
from edge_agent.settings import Settings
from edge_agent.store.store import Store
from edge_agent.telemetry.health import Health
from edge_agent.telemetry.node_metrics import PoolCounts
from edge_agent.telemetry.stream import ActivationStream

REQUEST_ID = "X-Request-ID"
#: An incoming transaction id that starts so is not reused (A2).
_SYSTEM_PREFIX = "sid_"
_REQUEST_ID_MAX = 256


def _no_pool() -> PoolCounts:
    return PoolCounts({}, {}, 0, 0)


Handler = Callable[["Call"], Awaitable[web.StreamResponse]]
Methods = Mapping[str, Handler]
_NONE: Methods = {}


class Target(NamedTuple):
    """What a path is aimed at; names decoded, `methods` empty when there is no route.

    `illegal` is the text about a name that cannot be (A61); it is the answer once the
    caller is known and the route exists. `extension` and `path` are a web action's.
    """

    methods: Methods = _NONE
    rest: bool = True
    keyed: bool = True
    namespace: str = OWN_NAMESPACE
    package: str | None = None
    name: str = ""
    illegal: str = ""
    extension: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the API stands on; `app` fills it in.

    `load` gives the numbers of `/edge/v1/load`: slots, free_slots, queue, inbox,
    running; `in_flight` the activation ids and actions of what runs; `pool_counts` what
    E16 and E17 count. `stopping` is set when the server begins to close, `draining`
    when it is to be left alone (A21).
    """

    engine: Engine
    catalog: Catalog
    store: Store
    settings: Settings
    limits: Limits
    overrides: Overrides
    subjects: Subjects
    health: Health
    stream: ActivationStream
    load: Callable[[], Mapping[str, Any]]
    in_flight: Callable[[], Sequence[tuple[str, str]]] = tuple
    pool_counts: Callable[[], PoolCounts] = _no_pool
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    draining: asyncio.Event = field(default_factory=asyncio.Event)


class Call:
    """A request, who sent it and what it is aimed at.

    `identity` and `target` are set by `dispatch` before any handler sees the call;
    `query` is the raw query string.
    """

    __slots__ = (
        "identity",
        "query",
        "request",
        "services",
        "target",
        "transaction_id",
    )

    identity: Identity
    target: Target

    def __init__(
        self, services: Services, request: BaseRequest, transaction_id: str
    ) -> None:
        self.services = services
        self.request = request
        self.transaction_id = transaction_id
        self.query = ""

    @property
    def namespace(self) -> str:
        """The namespace segment of the path, `_` resolved (A1)."""
        namespace = self.target.namespace
        return self.identity.namespace if namespace == OWN_NAMESPACE else namespace

    @property
    def name(self) -> FullName:
        """The entity that the path names."""
        return FullName(self.namespace, self.target.name, self.target.package)


def transaction_id(headers: Mapping[str, str]) -> str:
    """The caller's id, if it may be reused, else 32 random characters (A2)."""
    given = headers.get(REQUEST_ID)
    if given and _may_be_used_again(given):
        return given
    return new_activation_id()


def _may_be_used_again(given: str) -> bool:
    return (
        len(given) <= _REQUEST_ID_MAX
        and given.isascii()
        and not given.startswith(_SYSTEM_PREFIX)
    )


def sendable(text: str) -> str:
    """Text of a request as it may be sent back: bytes that are no UTF-8 become `?`."""
    return text if text.isascii() else text.encode(errors="replace").decode()
