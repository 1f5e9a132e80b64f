"""Where a broker listens. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_agent.events.base import ConfigError

DEFAULT_PORT = 1883
DEFAULT_TLS_PORT = 8883
HIGHEST_PORT = 65_535
PLAIN_SCHEMES = ("mqtt", "tcp")
TLS_SCHEMES = ("mqtts", "ssl", "tls")
#: Brokers of one failover list.
MOST_ADDRESSES = 8


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host and a port; `tls` when the scheme asks for it."""

    host: str
    port: int = DEFAULT_PORT
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts://' if self.tls else ''}{host}:{self.port}"

    @classmethod
    def parse(cls, text: Any, *, key: str = "broker") -> Address:
        """Read `host`, `host:port`, `[v6]:port`, with `mqtt://`, `mqtts://` or none.

        Raises:
            ConfigError: naming `key`.
        """
        if not isinstance(text, str) or not text:
            raise ConfigError(key, f"expected host:port, got {text!r}")
        scheme, separator, rest = text.rpartition("://")
        if separator and scheme not in PLAIN_SCHEMES + TLS_SCHEMES:
            problem = f"{scheme}:// is not supported, use mqtt:// or mqtts://"
            raise ConfigError(key, problem)
        if "@" in rest:
            problem = "holds a user name; give username and password as parameters"
            raise ConfigError(key, problem)
        tls = scheme in TLS_SCHEMES
        default = DEFAULT_TLS_PORT if tls else DEFAULT_PORT
        host, port = _split_port(rest.removesuffix("/"), default)
        if not host or any(c.isspace() or c in "/?#" for c in host):
            raise ConfigError(key, f"expected host:port, got {text!r}")
        if not port.isdecimal() or not 0 < int(port) <= HIGHEST_PORT:
            raise ConfigError(key, f"the port of {text!r} must be 1 to {HIGHEST_PORT}")
        return cls(host, int(port), tls)


def parse_addresses(given: Any, *, key: str = "broker") -> tuple[Address, ...]:
    """One broker, or several to try in turn: a list, or text with commas.

    Raises:
        ConfigError: naming `key`.
    """
    if isinstance(given, str) and "," in given:
        given = [one.strip() for one in given.split(",")]
    if not isinstance(given, list | tuple):
        return (Address.parse(given, key=key),)
    if not 0 < len(given) <= MOST_ADDRESSES:
        raise ConfigError(key, f"expected 1 to {MOST_ADDRESSES} brokers")
    found = tuple(Address.parse(one, key=key) for one in given)
    if len(set(found)) < len(found):
        raise ConfigError(key, "names a broker twice")
    if len({one.tls for one in found}) > 1:
        raise ConfigError(key, "mixes brokers with and without TLS")
    return found


def _split_port(text: str, default: int) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":") if port else str(default)
    if text.count(":") > 1:  # a bare IPv6 address
        return text, str(default)
    host, separator, port = text.partition(":")
    return host, port if separator else str(default)
