"""Who may look at the dashboard, and who may change something. Pure.

Looking is free on loopback and needs a login anywhere else. Changing needs to be
allowed when the dashboard is started, and a key of the fleet in a header of ours: no
form and no image of another page can send one, and a page of another origin may not
ask. On loopback a Host that is none of ours is a rebound name, and is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

KEY_HEADER = "X-Edgewhisk-Key"
COOKIE = "edgewhisk_session"
SESSIONS = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides; what it lacks is empty."""

    method: str
    host: str
    origin: str
    cookie: str
    key: str


@dataclass(slots=True)
class Guard:
    """The keys that are right, and the sessions that have logged in with one."""

    keys: frozenset[str]
    loopback: bool
    changes: bool
    _sessions: dict[str, None] = field(default_factory=dict)

    def refusal(self, asked: Asked) -> tuple[int, str] | None:
        """Status and reason; None when it may go on."""
        if self.loopback and not is_loopback(host_of(asked.host)):
            return 421, f"this dashboard is not at {asked.host}"
        if asked.origin and host_of(asked.origin) != host_of(asked.host):
            return 403, "asked by a page of another origin"
        if not self.loopback and not self._known(asked.cookie):
            return 401, "log in first"
        return None if asked.method in {"GET", "HEAD"} else self._unchanging(asked)

    def _unchanging(self, asked: Asked) -> tuple[int, str] | None:
        if not self.changes:
            return 403, "read only: start it with --changes to change something"
        return None if self.right(asked.key) else (403, "this needs a key of the fleet")

    def right(self, key: str) -> bool:
        """Whether it is one of the fleet's."""
        given = _digest(key)
        return any(hmac.compare_digest(given, _digest(each)) for each in self.keys)

    def login(self, key: str) -> str | None:
        """A new session's cookie; the oldest one goes beyond `SESSIONS`."""
        if not self.right(key):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = None
        while len(self._sessions) > SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session

    def _known(self, cookie: str) -> bool:
        return bool(cookie) and _digest(cookie) in self._sessions


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def host_of(text: str) -> str:
    """The host of `host:port` or of an origin, in small letters."""
    try:
        return urlsplit(text if "//" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
