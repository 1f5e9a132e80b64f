"""Records of activations that outlived their blocking wait.

An agent of ours tells them as they end (`/edge/v1/activations/stream`); the stream is
open only while somebody waits, since it tells every activation of the namespace. Any
other host is asked for each record by its id: 404 until it is there. An agent is asked
as well, seldom: for a record from before the stream began, or in a gap of it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import aiohttp
import msgspec
from yarl import URL

from controller.fleet.client import Client, OpenWhiskError
from controller.fleet.transport import CONNECT_TIMEOUT_S
from edge_agent.model.activations import Response

POLL_FIRST_S, POLL_MOST_S = 0.1, 2.0
#: While the host tells by itself.
POLL_TOLD_S = 10.0
REOPEN_S = 0.5
#: The agent sends a comment every 15 s; a stream quiet for longer is dead.
IDLE_S = 60.0
#: The longest record.
LINE_MOST = 8 << 20
_OK = 200
#: No record yet, or trouble that may pass.
_PASSING = frozenset({0, 404, 429, 500, 502, 503, 504})


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """What of a record is used here."""

    activation_id: str
    response: Response
    duration: int | None = None

    @property
    def seconds(self) -> float:
        return (self.duration or 0) / 1000


_RECORD = msgspec.json.Decoder(Record)


class Records:
    """Of one host. `listen` must run while others `wait`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[str, asyncio.Future[Record]] = {}
        self._wanted = asyncio.Event()
        self._told = False
        self._untold = False

    async def wait(self, activation_id: str, *, timeout_s: float) -> Record | None:
        """None when it does not come in time.

        Raises:
            OpenWhiskError: the host refuses to tell.
        """
        until, pause_s = time.monotonic() + timeout_s, POLL_FIRST_S
        record = self._waiting.setdefault(
            activation_id, asyncio.get_running_loop().create_future()
        )
        self._wanted.set()
        try:
            while time.monotonic() < until:
                if not record.done() and (found := await self._ask(activation_id)):
                    return found
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_TOLD_S if self._told else pause_s):
                        return await asyncio.shield(record)
                pause_s = min(1.5 * pause_s, POLL_MOST_S)
        finally:
            del self._waiting[activation_id]
            if not self._waiting:
                self._wanted.clear()
        return None

    async def _ask(self, activation_id: str) -> Record | None:
        try:
            found = await self._client.get_activation(activation_id)
        except OpenWhiskError as error:
            if error.status not in _PASSING:
                raise
            return None
        duration = found.duration
        known = duration if isinstance(duration, int) else None
        return Record(activation_id, found.response, known)

    async def listen(self) -> None:
        while not self._untold:
            await self._wanted.wait()
            with suppress(aiohttp.ClientError, TimeoutError, ValueError):
                await self._hear()
            self._told = False
            await asyncio.sleep(REOPEN_S)
        await asyncio.Event().wait()

    async def _hear(self) -> None:
        """Until nobody waits, or the stream ends."""
        target = self._client.target
        url = URL(f"{target.url}/edge/v1/activations/stream", encoded=True)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=IDLE_S
        )
        async with self._client.session.get(
            url,
            timeout=timeout,
            ssl=not target.insecure,
            read_bufsize=LINE_MOST,
        ) as stream:
            if stream.status != _OK:
                self._untold = 400 <= stream.status < 500  # noqa: PLR2004 no agent
                return
            self._told = True
            async for line in stream.content:
                if line.startswith(b"data:"):
                    self._tell(line)
                if not self._waiting:
                    return

    def _tell(self, line: bytes) -> None:
        record = _RECORD.decode(line[5:])
        waiting = self._waiting.get(record.activation_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(record)
