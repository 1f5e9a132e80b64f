"""A Docker or Podman engine, by its HTTP API on a unix socket.

Both speak Docker's API; what is used here both have. The engine's JSON stops in this
file: others get values. Requests name the version that the engine itself speaks, since
Docker drops old ones from time to time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from edge_agent.sandbox.base import SandboxError

DOCKER, PODMAN = "Docker", "Podman"
#: Where engines listen; Docker first, since its daemon was started on purpose.
SOCKETS = ("/run/docker.sock", "/run/podman/podman.sock")
PROBE_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 60.0
HTTP_BAD_REQUEST, HTTP_NOT_FOUND, HTTP_CONFLICT = 400, 404, 409
#: The exit code of a process that SIGKILL ended.
KILLED = 137
_FOREVER = aiohttp.ClientTimeout(total=None, sock_connect=PROBE_TIMEOUT_S)


class EngineError(SandboxError):
    """The engine refused; `status` is HTTP's, 0 when it cannot be reached."""

    def __init__(self, text: str, *, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What answers at a socket, e.g. Docker 20.10.24; `api` is its version of the API.

    `rootless`: it runs as an ordinary user, and its containers cannot be reached.
    """

    socket: str
    name: str
    version: str
    api: str
    rootless: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.version} at {self.socket}"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here: its own id and the digests it was pulled by."""

    id: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContainerState:
    """`pid` is 0 when it does not run; `address` empty when it has none."""

    running: bool
    out_of_memory: bool
    pid: int
    address: str


class Engine:
    """Made by `connect`; an async context manager, or `close` it."""

    def __init__(self, session: aiohttp.ClientSession, facts: EngineFacts) -> None:
        self.facts = facts
        self._session = session
        self._base = f"http://engine/v{facts.api}"

    @classmethod
    async def connect(cls, socket: str) -> Self:
        """Raises EngineError when no engine answers there."""
        session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(socket, limit=0),
            timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S),
        )
        try:
            facts = await _ask_facts(session, socket)
        except BaseException:
            await session.close()
            raise
        return cls(session, facts)

    async def close(self) -> None:
        await self._session.close()

    # Images

    async def image(self, name: str) -> Image | None:
        """None when it is not here."""
        try:
            found = await self._call("GET", f"/images/{quote(name)}/json")
        except EngineError as error:
            if error.status == HTTP_NOT_FOUND:
                return None
            raise
        digests = (each.rpartition("@")[2] for each in found.get("RepoDigests") or ())
        return Image(found["Id"], tuple(digests))

    async def pull(self, name: str) -> AsyncGenerator[str, None]:
        """The engine's words about it, line by line; takes as long as it takes."""
        call = self._open("POST", "/images/create", query={"fromImage": name})
        async with call as response:
            async for line in _lines_of(response.content):
                if error := line.get("error"):
                    raise EngineError(str(error))
                progress = " ".join(
                    str(line[key])
                    for key in ("id", "status", "progress")
                    if key in line
                )
                if progress:
                    yield progress

    # Containers

    async def create(self, name: str, document: Mapping[str, Any]) -> str:
        """The id of a new container that has not been started."""
        query = {"name": name}
        made = await self._call("POST", "/containers/create", query, document)
        return str(made["Id"])

    async def start(self, container: str) -> None:
        await self._call("POST", f"/containers/{container}/start")

    async def state(self, container: str) -> ContainerState:
        found = await self._call("GET", f"/containers/{container}/json")
        state, network = found["State"], found.get("NetworkSettings") or {}
        attached = (network.get("Networks") or {}).values()
        addresses = [network.get("IPAddress"), *(n.get("IPAddress") for n in attached)]
        return ContainerState(
            running=bool(state.get("Running")),
            out_of_memory=self._out_of_memory(state),
            pid=int(state.get("Pid") or 0),
            address=next(filter(None, addresses), ""),
        )

    def _out_of_memory(self, state: Mapping[str, Any]) -> bool:
        """Podman does not always see it; nobody else kills a container of ours."""
        killed = state.get("ExitCode") == KILLED and not state.get("Running")
        return bool(state.get("OOMKilled")) or (killed and self.facts.name == PODMAN)

    async def ended(self, container: str) -> None:
        """Return when it does not run any more."""
        call = self._open(
            "POST",
            f"/containers/{container}/wait",
            query={"condition": "not-running"},
        )
        async with call as response:
            await response.read()

    @asynccontextmanager
    async def output(self, container: str) -> AsyncIterator[aiohttp.StreamReader]:
        """What it writes to stdout and stderr from now on, in the engine's frames."""
        query = {"stream": "1", "stdout": "1", "stderr": "1"}
        call = self._open("POST", f"/containers/{container}/attach", query=query)
        async with call as response:
            yield response.content

    async def remove(self, container: str) -> None:
        """Kill it, and remove it with its volumes; one that is gone is fine.

        The kill comes first because Podman's removal begins with a SIGTERM.
        """
        place = f"/containers/{container}"
        with suppress(EngineError):  # it may have ended, and the removal tells
            await self._call("POST", f"{place}/kill")
        try:
            await self._call("DELETE", place, {"force": "true", "v": "true"})
        except EngineError as error:
            if error.status not in {HTTP_NOT_FOUND, HTTP_CONFLICT}:  # gone, or going
                raise

    async def labelled(self, label: str) -> dict[str, str]:
        """Id -> the label's value, of all containers that have it."""
        filters = msgspec.json.encode({"label": [label]}).decode()
        query = {"all": "true", "filters": filters}
        found = await self._call("GET", "/containers/json", query)
        return {each["Id"]: each["Labels"][label] for each in found}

    # Calling

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            async with self._session.request(
                method, self._base + path, params=query, json=document
            ) as response:
                body = await response.read()
                _check(response, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineError(f"{self.facts}: {error!r}") from error
        return msgspec.json.decode(body) if body else None

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, *, query: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A call whose answer takes its time."""
        try:
            async with self._session.request(
                method, self._base + path, params=query, timeout=_FOREVER
            ) as response:
                if response.status >= HTTP_BAD_REQUEST:
                    _check(response, await response.read())
                yield response
        except (aiohttp.ClientError, OSError) as error:
            raise EngineError(f"{self.facts}: {error!r}") from error


async def find_engine(wanted: str) -> Engine | str:
    """The engine at socket `wanted` or, of `auto`, the first; or why there is none."""
    if not wanted:
        return "none is wanted (container.socket)"
    found = await asyncio.to_thread(_sockets) if wanted == "auto" else {wanted: True}
    reasons = []
    for socket, ours in found.items():
        if not ours:
            reasons.append(f"{socket} is not ours to use: its group must have our user")
            continue
        try:
            return await Engine.connect(socket)
        except EngineError as error:
            reasons.append(str(error))
    return "; ".join(reasons) or f"no socket at {' or '.join(SOCKETS)}"


async def describe_engine(wanted: str) -> str:
    """What a doctor says: the engine, or why there is none."""
    engine = await find_engine(wanted)
    if isinstance(engine, str):
        return f"none: {engine}"
    await engine.close()
    return str(engine.facts)


def _sockets() -> dict[str, bool]:
    """Those that are there, and whether we may use them."""
    return {path: os.access(path, os.W_OK) for path in SOCKETS if _is_there(path)}


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except PermissionError:  # in a folder that is not ours to look into
        return True


async def _ask_facts(session: aiohttp.ClientSession, socket: str) -> EngineFacts:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            async with session.get("http://engine/version") as response:
                version = msgspec.json.decode(await response.read())
            async with session.get("http://engine/info") as response:
                info = msgspec.json.decode(await response.read())
        return _read_facts(socket, version, info)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise EngineError(f"{socket}: {error!r}") from error
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{socket} is no container engine's: {error!r}") from error


def _read_facts(
    socket: str, version: Mapping[str, Any], info: Mapping[str, Any]
) -> EngineFacts:
    components = version.get("Components") or [{}]
    podman = any("podman" in str(c.get("Name")).lower() for c in components)
    return EngineFacts(
        socket=str(Path(socket)),
        name=PODMAN if podman else DOCKER,
        version=version["Version"],
        api=version["ApiVersion"],
        rootless=any("rootless" in o for o in info.get("SecurityOptions") or ()),
    )


def _check(response: aiohttp.ClientResponse, body: bytes) -> None:
    if response.status < HTTP_BAD_REQUEST:
        return
    try:
        text = str(msgspec.json.decode(body)["message"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        text = body.decode(errors="replace")
    raise EngineError(text.strip(), status=response.status)


async def _lines_of(content: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Documents, one a line."""
    async for line in content:
        if line.strip():
            yield msgspec.json.decode(line)
