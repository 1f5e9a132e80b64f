"""A server of one large object, for actions that download."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from gevent.pywsgi import WSGIServer


class ObjectServer:
    """Serves `size_bytes` at `url` while it is entered.

    Args:
        host: the address nodes reach us at; empty: the one we reach `target` from.
    """

    def __init__(self, size_bytes: int, *, host: str, target: str) -> None:
        self._host = host or own_address(target)
        self._body = b"\0" * size_bytes
        self._server = WSGIServer((self._host, 0), self._answer, log=None)

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._server.server_port}/object"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop(timeout=1)

    def _answer(self, _: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "application/octet-stream")])
        return [self._body]


def own_address(target: str) -> str:
    """The address of ours that packets to the host of this URL leave from."""
    parts = urlsplit(target)
    host, port = parts.hostname or "127.0.0.1", parts.port or 443
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        found: str = probe.getsockname()[0]
    return found
