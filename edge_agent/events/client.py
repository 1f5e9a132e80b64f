"""paho's client with its socket work done by the event loop, and no thread.

paho makes and reads everything that is rare: CONNECT, SUBSCRIBE, keep-alive,
DISCONNECT. PUBLISH and PUBACK, in both directions, go past it (see `packets`): what
arrives is read in large pieces and cut into packets here, and what leaves in one turn
of the loop leaves in one `send`.

The socket is connected before (`dial`), because paho's own way of connecting blocks. It
may be encrypted: then it wants to read when asked to write, and the other way round,
and may hold what the system does not know of any more.
Of paho's private methods four are overridden: the ones that make, read, write and close
the socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_agent.events.address import Address
from edge_agent.events.packets import (
    PUBACK,
    PUBLISH,
    MalformedPacket,
    Message,
    decode_puback,
    decode_publish,
    next_frame,
)
from edge_agent.events.tls import shake_hands

__all__ = ["LoopClient", "MQTTv5", "MQTTv311", "dial"]

READ_BYTES = 1 << 16
#: The socket has nothing, or takes nothing, now.
NOT_NOW = (
    BlockingIOError,
    InterruptedError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
)

log = logging.getLogger(__name__)


async def dial(
    address: Address,
    *,
    timeout_s: float,
    context: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> socket.socket:
    """A connected, non-blocking socket without Nagle's delay; encrypted by `context`.

    Raises:
        OSError: nobody answers (TimeoutError is one), or TLS fails (ssl.SSLError is).
    """
    async with asyncio.timeout(timeout_s):
        plain = await _dial(address)
        if context is None:
            return plain
        name = server_name or address.host
        return await shake_hands(plain, context, server_name=name)


async def _dial(address: Address) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM
    )
    for family, kind, protocol, _, place in found[:-1]:
        try:
            return await _connect(family, kind, protocol, place)
        except OSError:  # the next address may answer
            continue
    family, kind, protocol, _, place = found[-1]
    return await _connect(family, kind, protocol, place)


async def _connect(family: int, kind: int, protocol: int, place: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


class LoopClient(Client):
    """One connection. Callbacks are called in the loop, never inside of `write`."""

    def __init__(
        self,
        connected: socket.socket,
        *,
        protocol: MQTTProtocolVersion,
        client_id: str,
        persistent: bool = True,
        on_publish_packet: Callable[[Message], None],
        on_puback_packet: Callable[[int, int], None],
    ) -> None:
        self.version_5 = protocol == MQTTv5
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if self.version_5 else not persistent,
            protocol=protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._connected = connected
        self._encrypted = connected if isinstance(connected, ssl.SSLSocket) else None
        self._took = on_publish_packet
        self._acknowledged = on_puback_packet
        self._event_loop = asyncio.get_running_loop()
        self._unread = b""
        self._frame = b""
        self._at_end = False
        self._unsent = bytearray()
        self._flushing = False
        self._reading = True
        self._waiting_to_write = False
        self.problem: str | None = None
        self.on_socket_open = self._watch
        self.on_socket_close = self._unwatch
        self.on_socket_register_write = self._has_packets

    def packet_id(self) -> int:
        """A new one, from the range that SUBSCRIBE uses as well."""
        return self._mid_generate()

    def set_reading(self, *, on: bool) -> None:
        """Stop taking what arrives, so that the peer has to wait, or go on."""
        if on == self._reading or self._sock is None:
            return
        self._reading = on
        if on:
            self._event_loop.add_reader(self._sock.fileno(), self._readable)
            self._event_loop.call_soon(self._readable)  # TLS may have read ahead
        else:
            self._event_loop.remove_reader(self._sock.fileno())

    def write(self, packet: bytes) -> None:
        """Send a whole packet at the end of this turn of the loop."""
        self._unsent += packet
        self._flush_soon()

    def flush(self) -> None:
        """Send what there is now, as far as the socket takes it."""
        self._flushing = False
        if self._sock is not None:
            self.loop_write()
            self._send()

    def drop(self, problem: str) -> None:
        """Close the connection because of `problem`; `on_disconnect` is called."""
        self.problem = problem
        self._frame = b""
        self._at_end = True
        self.loop_read()

    # --- what paho asks of a socket -------------------------------------------------

    def _create_socket(self) -> socket.socket:
        return self._connected

    def _sock_recv(self, bufsize: int) -> bytes:
        piece, self._frame = self._frame[:bufsize], self._frame[bufsize:]
        if not piece and not self._at_end:
            raise BlockingIOError
        return piece

    def _sock_send(self, buf: bytes | bytearray) -> int:
        self._unsent += buf
        return len(buf)

    def _sock_close(self) -> None:
        if self._sock is not None:
            self._send()
        super()._sock_close()

    # --- what the loop calls --------------------------------------------------------

    def _watch(self, _client: Client, _data: Any, sock: Any) -> None:
        self._event_loop.add_reader(sock.fileno(), self._readable)

    def _unwatch(self, _client: Client, _data: Any, sock: Any) -> None:
        self._event_loop.remove_reader(sock.fileno())
        if self._waiting_to_write:
            self._waiting_to_write = False
            self._event_loop.remove_writer(sock.fileno())

    def _has_packets(self, _client: Client, _data: Any, _sock: Any) -> None:
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._event_loop.call_soon(self.flush)

    def _send(self) -> None:
        if self._unsent:
            try:
                sent = self._connected.send(self._unsent)
            except NOT_NOW:
                sent = 0
            except OSError:  # the reader sees the end of the connection as well
                sent = len(self._unsent)
            del self._unsent[:sent]
        if bool(self._unsent) != self._waiting_to_write:
            self._waiting_to_write = not self._waiting_to_write
            if self._waiting_to_write:
                self._event_loop.add_writer(self._connected.fileno(), self._send)
            else:
                self._event_loop.remove_writer(self._connected.fileno())

    def _readable(self) -> None:
        if self._sock is None or not self._reading:
            return
        self._read()
        # TLS reads ahead: of that the system tells nothing any more.
        while self._encrypted and self._sock is not None and self._reading:
            if not self._encrypted.pending():
                return
            self._read()

    def _read(self) -> None:
        try:
            data = self._connected.recv(READ_BYTES)
        except NOT_NOW:
            return
        except OSError as error:
            self.drop(str(error))
            return
        if not data:
            self.drop("the broker closed the connection")
            return
        try:
            self._split(self._unread + data if self._unread else data)
        except MalformedPacket as error:
            self.drop(str(error))
        except Exception:  # the source's edge: the rest of `data` would be lost
            log.exception("a message from the broker could not be handled")
            self.drop("a fault of the node's own, see its log")

    def _split(self, data: bytes) -> None:
        start = 0
        while self._sock is not None:
            frame = next_frame(data, start)
            if frame is None:
                break
            body, end = frame
            self._handle(data, start, body, end)
            start = end
        self._unread = data[start:]

    def _handle(self, data: bytes, start: int, body: int, end: int) -> None:
        header = data[start]
        kind = header & 0xF0
        if kind == PUBLISH:
            message = decode_publish(header, data[body:end], version_5=self.version_5)
            self._took(message)
        elif kind == PUBACK:
            self._acknowledged(*decode_puback(data[body:end]))
        else:
            self._frame = data[start:end]
            while self._frame and self._sock is not None:
                self.loop_read()
