"""Where the API listens: plain, and with TLS where the settings name a certificate.

A deployed node's sockets are made by systemd (`edge-agent.socket`), so that they stay
open while one release takes over from another: who connects meanwhile waits. Which
listener a socket belongs to is told by its port.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from edge_agent.model.errors import SettingsError
from edge_agent.settings import MetricsServer, Server, ServerTls

#: SHA-256 of the keys in upstream's repository: everybody knows them.
PUBLIC_KEYS = frozenset(
    bytes.fromhex(digest)
    for digest in (
        "9946cd023314ea5325f5c44ed5311d1b8e10310021b6bc04c4102c8b98f16384",
        "77893fcd70dfd609c8ef06671893066a0c63429fdc03740f111dd5f65adb47bf",
    )
)
#: As many as the kernel lets wait.
BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Listening:
    """Addresses that are served; `tls_url` is None without a certificate."""

    url: str
    tls_url: str | None = None

    def __str__(self) -> str:
        return f"{self.url} and {self.tls_url}" if self.tls_url else self.url


class Certificate:
    """The certificate in use; `load` again shows new connections the new one."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    def load(self) -> None:
        """Raises SettingsError when the files cannot be used."""
        tls = self._tls
        try:
            self.context.load_cert_chain(tls.certificate, tls.key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"server.tls: {tls.certificate} with {tls.key}: {error}"
            ) from error


async def listen(
    runner: web.ServerRunner,
    server: Server,
    sockets: Sequence[socket.socket],
    certificate: Certificate | None,
) -> Listening:
    """Serve; with port 0 only the system knows the address before.

    Raises:
        SettingsError: an address cannot be had.
    """
    url = await _serve(runner, server.host, server.port, sockets)
    if certificate is None or server.tls is None:
        return Listening(url)
    tls, context = server.tls, certificate.context
    return Listening(url, await _serve(runner, tls.host, tls.port, sockets, context))


async def listen_for_metrics(runner: web.ServerRunner, server: MetricsServer) -> str:
    """The URL; raises SettingsError as `listen` does."""
    setting = "metrics.server.port"
    return await _serve(runner, server.host, server.port, (), setting=setting)


async def _serve(
    runner: web.ServerRunner,
    host: str,
    port: int,
    sockets: Sequence[socket.socket],
    context: ssl.SSLContext | None = None,
    *,
    setting: str = "server.port",
) -> str:
    given = [one for one in sockets if port and one.getsockname()[1] == port]
    sites: list[web.BaseSite] = [
        web.SockSite(runner, one, ssl_context=context, backlog=BACKLOG) for one in given
    ] or [web.TCPSite(runner, host or None, port, ssl_context=context, backlog=BACKLOG)]
    before = len(runner.addresses)
    try:
        for site in sites:
            await site.start()
    except OSError as error:
        key = "server.tls.port" if context else setting
        raise SettingsError(
            f"{key}: cannot listen on {host}:{port}: "
            f"{error.strerror}; name another port, or 0 for any"
        ) from error
    return _url(context, *runner.addresses[before][:2])


def _url(context: ssl.SSLContext | None, host: str, port: int) -> str:
    scheme = "http" if context is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def stop_listening(runner: web.ServerRunner) -> None:
    for site in list(runner.sites):
        await site.stop()


def check_keys(server: Server, keys: Sequence[str]) -> None:
    """Refuse keys that everybody knows where everybody may come.

    Raises:
        SettingsError: one of `keys` is public and an address is not the loopback's.
    """
    hosts = [server.host] + ([server.tls.host] if server.tls else [])
    known = any(hashlib.sha256(k.encode()).digest() in PUBLIC_KEYS for k in keys)
    open_to_all = [host for host in hosts if not _is_loopback(host)]
    if known and open_to_all and not server.allow_public_key:
        raise SettingsError(
            f"server.host: {open_to_all[0] or 'every address'} with upstream's public"
            " key, which anybody knows: give the namespace a key of its own, or set"
            " server.allow_public_key"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
