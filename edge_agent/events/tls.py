"""Encrypted connections: what certificates become, and the handshake in the loop."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_agent.events.base import ConfigError
from edge_agent.events.identity import BrokerIdentity, Tls
from edge_agent.events.secret import Hidden, Secrets


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """The values themselves, for one connection; never shown, kept or logged."""

    username: str | None
    password: str | None
    context: ssl.SSLContext | None
    will: str | None


def open_credentials(identity: BrokerIdentity, secrets: Secrets) -> Credentials:
    """Read what the identity names; blocks, so call it from a thread.

    Raises:
        ConfigError: a secret or a certificate cannot be used.
    """

    def text(hidden: Hidden) -> str:
        return secrets.text(hidden, namespace=identity.namespace)

    def value(hidden: Hidden | None) -> str | None:
        return None if hidden is None else text(hidden)

    tls = identity.tls
    return Credentials(
        username=value(identity.username),
        password=value(identity.password),
        context=None if tls is None else _context(tls, text),
        will=None if identity.will is None else value(identity.will.payload),
    )


def _context(tls: Tls, text: Callable[[Hidden], str]) -> ssl.SSLContext:
    ca = None if tls.ca is None else text(tls.ca)
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise ConfigError("tls.ca", "is no certificate in PEM form") from None
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate is not None and tls.key is not None:
        _load_chain(context, text(tls.certificate), text(tls.key))
    return context


def _load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """From memory: OpenSSL wants a file, and a disk shall not have the key."""
    file = os.memfd_create("edgewhisk-certificate")
    try:
        os.write(file, f"{certificate}\n{key}\n".encode())
        # A password would be asked for at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{file}", password=_no_password)
    except (ssl.SSLError, ValueError):
        problem = "is no PEM certificate with its own key, or the key has a password"
        raise ConfigError("tls.certificate", problem) from None
    finally:
        os.close(file)


def _no_password() -> str:
    raise ValueError


async def shake_hands(
    plain: socket.socket, context: ssl.SSLContext, *, server_name: str
) -> ssl.SSLSocket:
    """Encrypt a connected, non-blocking socket.

    Raises:
        OSError: the broker's certificate does not do, or it speaks no TLS.
    """
    sock = context.wrap_socket(
        plain, server_hostname=server_name, do_handshake_on_connect=False
    )
    try:
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                await _ready(sock, write=False)
            except ssl.SSLWantWriteError:
                await _ready(sock, write=True)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


async def _ready(sock: socket.socket, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    watch: Callable[..., Any] = loop.add_writer if write else loop.add_reader
    forget = loop.remove_writer if write else loop.remove_reader
    number = sock.fileno()
    watch(number, tell)
    try:
        await ready
    finally:
        forget(number)


def tls_problem(error: ssl.SSLError) -> str:
    """Without OpenSSL's source places."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: the broker's certificate: {error.verify_message}"
    reason = (error.reason or str(error)).lower().replace("_", " ")
    return f"TLS: {reason}"
