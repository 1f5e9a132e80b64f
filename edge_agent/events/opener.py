"""How a session begins: at which address, in which version, with which credentials.

Of several addresses the next is tried when one does not answer; after a session the
first one again. MQTT 5 is asked for first. A broker that refuses it, hangs up on it or
has nothing to say to it (amqtt takes its properties for a client id of some thousand
bytes and waits for them) is asked for 3.1.1 at once, and so for an hour. One that has
spoken 5 is believed to do so again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edge_agent.events.address import Address
from edge_agent.events.client import dial
from edge_agent.events.identity import BrokerIdentity
from edge_agent.events.refusal import Lost, Refused
from edge_agent.events.secret import Secrets
from edge_agent.events.session import Session
from edge_agent.events.tls import Credentials, open_credentials, tls_problem

DIAL_TIMEOUT_S = 5.0
#: A broker answers at once; one that has never spoken MQTT 5 gets less time to.
CONNACK_TIMEOUT_S = 5.0
FIRST_CONNACK_TIMEOUT_S = 1.5
ASK_5_AGAIN_S = 3600.0


@dataclass(slots=True)
class _Known:
    """What is known of one address."""

    speaks_5: bool | None = None
    ask_5_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: make a session of this and open it in `timeout_s`."""

    connected: socket.socket
    credentials: Credentials
    version_5: bool
    timeout_s: float


Begin = Callable[[Attempt], Awaitable[Session]]


class Opener:
    """Owns which address is next and what each one speaks."""

    def __init__(self, identity: BrokerIdentity, secrets: Secrets) -> None:
        self._identity = identity
        self._secrets = secrets
        self._known = {address: _Known() for address in identity.addresses}
        self._turn = 0

    @property
    def address(self) -> Address:
        """Where the next session will be, or the present one is."""
        return self._identity.addresses[self._turn]

    def start_over(self) -> None:
        self._turn = 0

    def skip(self) -> bool:
        """Go on to the next address; False when all have had their turn."""
        self._turn = (self._turn + 1) % len(self._identity.addresses)
        return self._turn > 0

    async def open(self, begin: Begin) -> Session:
        """A session at `address`.

        Raises:
            OSError, Refused, Lost: there is none.
            BuiltinError: a secret or a certificate cannot be used.
        """
        credentials = await asyncio.to_thread(
            open_credentials, self._identity, self._secrets
        )
        known = self._known[self.address]
        version = self._identity.version
        if version == "5":
            return await self._try(begin, credentials, True, CONNACK_TIMEOUT_S)
        if version == "3.1.1" or self._asks_3(known):
            return await self._open_3(begin, credentials, known)
        return await self._open_5(begin, credentials, known)

    async def _open_5(
        self, begin: Begin, credentials: Credentials, known: _Known
    ) -> Session:
        wait_s = CONNACK_TIMEOUT_S if known.speaks_5 else FIRST_CONNACK_TIMEOUT_S
        try:
            session = await self._try(begin, credentials, True, wait_s)
        except Refused as error:
            if not error.version:
                raise
        except Lost:
            if known.speaks_5:
                raise
        else:
            known.speaks_5 = True
            return session
        session = await self._open_3(begin, credentials, known)
        known.speaks_5 = False
        known.ask_5_at = asyncio.get_running_loop().time() + ASK_5_AGAIN_S
        return session

    async def _open_3(
        self, begin: Begin, credentials: Credentials, known: _Known
    ) -> Session:
        try:
            return await self._try(begin, credentials, False, CONNACK_TIMEOUT_S)
        except Refused as error:
            if error.version:
                known.speaks_5 = None
            raise

    async def _try(
        self,
        begin: Begin,
        credentials: Credentials,
        version_5: bool,  # noqa: FBT001 four of one kind
        timeout_s: float,
    ) -> Session:
        tls = self._identity.tls
        connected = await dial(
            self.address,
            timeout_s=DIAL_TIMEOUT_S,
            context=credentials.context,
            server_name=None if tls is None else tls.server_name,
        )
        return await begin(Attempt(connected, credentials, version_5, timeout_s))

    @staticmethod
    def _asks_3(known: _Known) -> bool:
        now = asyncio.get_running_loop().time()
        return known.speaks_5 is False and now < known.ask_5_at


def problem_of(error: Exception) -> str:
    """Why there is no session, in a few words."""
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, ssl.SSLError):
        return f"cannot connect: {tls_problem(error)}"
    if isinstance(error, OSError):
        # asyncio's own text names the function that failed
        code = error.errno or 0
        return f"cannot connect: {os.strerror(code) if code > 0 else error}"
    return str(error)
