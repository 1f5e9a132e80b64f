"""What only a caller sees of a node: its certificate, and who gets in."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from cryptography import x509

from controller.doctor.problem import Problem
from controller.fleet.client import NO_RETRY, Client
from controller.fleet.target import Target
from controller.fleet.transport import OpenWhiskError

#: Upstream's own, which everybody knows.
PUBLIC_KEY = (
    "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:"
    "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"
)
#: Sooner than this it is time to replace a certificate.
EXPIRES_SOON = dt.timedelta(days=30)
TIMEOUT_S = 5.0


async def look_from_outside(target: Target) -> list[Problem]:
    """The certificate and the public key, asked for at once."""
    parts = await asyncio.gather(certificate(target), public_key(target))
    return [problem for part in parts for problem in part]


async def certificate(target: Target) -> list[Problem]:
    parts = urlsplit(target.url)
    if parts.scheme != "https":
        return []
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await _certificate(parts.hostname or "", parts.port or 443)
    except (OSError, TimeoutError, ValueError):
        return []  # whether it answers, the client has found out
    return judge_end(found.not_valid_after_utc, dt.datetime.now(dt.UTC))


def judge_end(ends: dt.datetime, now: dt.datetime) -> list[Problem]:
    mend = "edgectl rotate certificates"
    if ends <= now:
        return [Problem("certificate", f"its certificate ended on {ends:%F}", mend)]
    if ends - now < EXPIRES_SOON:
        text = f"its certificate ends on {ends:%F}"
        return [Problem("certificate", text, mend, serious=False)]
    return []


async def _certificate(host: str, port: int) -> x509.Certificate:
    """Whoever signed it: what is wrong with it is what is looked for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(raw)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def public_key(target: Target) -> list[Problem]:
    """Whether the key that upstream publishes opens it, from another machine."""
    if _is_loopback(urlsplit(target.url).hostname or ""):
        return []
    guest = replace(target, key=PUBLIC_KEY, system_key=None)
    try:
        async with Client(guest, retry=NO_RETRY, timeout_s=TIMEOUT_S) as client:
            await client.list_actions(limit=1)
    except OpenWhiskError:
        return []
    return [
        Problem(
            "public-key",
            "the key that upstream publishes opens it: anybody can run code there",
            "edgectl rotate keys, and take it out of the node's users",
        )
    ]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def version_skew(versions: Sequence[tuple[str, str]], ours: str) -> dict[str, Problem]:
    """Node -> that it runs another version than edgectl here is.

    `versions` are pairs of a node's name and its version.
    """
    return {
        name: Problem(
            "version",
            f"it runs {version}, edgectl is {ours}",
            "edgectl deploy, or the edgectl of that version",
            serious=False,
        )
        for name, version in versions
        if version and version != ours
    }
