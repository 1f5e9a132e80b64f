"""Machines nearby that are nodes, or could be: agents and fresh Raspberry Pis.

Agents announce themselves by mDNS as `_edgewhisk._tcp` (an avahi service file that the
deployment installs); the record may say `scheme`, `name` and `version`. A fresh Pi is
found by its default name, `raspberrypi.local` (avahi numbers those that come later),
and in the kernel's table of neighbours by the maker's part of its Ethernet address.
Only what answers on port 22 counts: without SSH nothing can be installed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from zeroconf import (  # type: ignore[attr-defined] # one is not in its __all__
    AddressResolverIPv4,
    IPVersion,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

SERVICE = "_edgewhisk._tcp.local."
#: Whose Ethernet addresses begin so: Raspberry Pi Foundation and Trading (IEEE).
RASPBERRY_PI = (
    "28:cd:c1",
    "2c:cf:67",
    "88:a2:9e",
    "b8:27:eb",
    "d8:3a:dd",
    "dc:a6:32",
    "e4:5f:01",
)
DEFAULT_NAME = "raspberrypi"
#: raspberrypi.local, raspberrypi-2.local ... are asked for.
NUMBERED_MOST = 9
SSH_PORT = 22
CONNECT_TIMEOUT_S = 1.0
AT_ONCE = 32
_UNREACHABLE = frozenset({"FAILED", "INCOMPLETE", "NONE"})


@dataclass(frozen=True, slots=True)
class Found:
    """`kind` is "agent" or "pi"; `name` is fit for an inventory."""

    kind: str
    name: str
    address: str
    port: int
    scheme: str = ""
    version: str = ""


async def discover(
    *,
    seconds: float,
    interfaces: Sequence[str] | None = None,
    ssh_port: int = SSH_PORT,
) -> list[Found]:
    """Look for `seconds`, by every way at once; agents first, each machine once.

    Args:
        seconds: how long to listen.
        interfaces: our addresses to ask from; all of them when None.
        ssh_port: where SSH must answer.
    """
    given: dict[str, Any] = {} if interfaces is None else {"interfaces": interfaces}
    async with AsyncZeroconf(ip_version=IPVersion.V4Only, **given) as mdns:
        agents, named, near = await asyncio.gather(
            _agents(mdns, seconds), _fresh_names(mdns, seconds), neighbours()
        )
    pis = [Found("pi", name, address, ssh_port) for name, address in named]
    pis += [Found("pi", _name_of(address), address, ssh_port) for address in near]
    reachable = await _reachable(pis)
    return once([*agents, *reachable])


def once(found: Iterable[Found]) -> list[Found]:
    """Each address once, the first that is known of it."""
    by_address: dict[tuple[str, str], Found] = {}
    agents: set[str] = set()
    for one in found:
        if one.kind == "agent":
            by_address.setdefault((one.address, str(one.port)), one)
            agents.add(one.address)
        elif one.address not in agents:
            by_address.setdefault((one.address, ""), one)
    return list(by_address.values())


async def neighbours() -> list[str]:
    """Addresses of Raspberry Pis that the kernel has met lately."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("ip", "-json", "-4", "neighbour", "show"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except FileNotFoundError:  # no iproute2: the other ways remain
        return []
    said, _ = await process.communicate()
    return raspberry_pis(said)


def raspberry_pis(said: bytes) -> list[str]:
    """From what `ip -json neighbour` says."""
    try:
        table = msgspec.json.decode(said or b"[]", type=list[dict[str, Any]])
    except msgspec.MsgspecError:
        return []
    return [
        str(row["dst"])
        for row in table
        if str(row.get("lladdr", "")).lower().startswith(RASPBERRY_PI)
        and not _UNREACHABLE.intersection(row.get("state", ()))
    ]


async def _agents(mdns: AsyncZeroconf, seconds: float) -> list[Found]:
    names: asyncio.Queue[str] = asyncio.Queue()

    def heard(
        zeroconf: Zeroconf,  # noqa: ARG001 zeroconf passes all by name
        service_type: str,  # noqa: ARG001
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        if state_change is not ServiceStateChange.Removed:
            names.put_nowait(name)

    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    browser = AsyncServiceBrowser(mdns.zeroconf, SERVICE, handlers=[heard])
    await asyncio.sleep(seconds / 2)
    known = sorted({names.get_nowait() for _ in range(names.qsize())})
    left_ms = (until - loop.time()) * 1000
    infos = await asyncio.gather(*(_info(mdns, name, left_ms) for name in known))
    await browser.async_cancel()
    return [one for one in infos if one is not None]


async def _info(mdns: AsyncZeroconf, name: str, wait_ms: float) -> Found | None:
    info = AsyncServiceInfo(SERVICE, name)
    if not await info.async_request(mdns.zeroconf, wait_ms) or info.port is None:
        return None
    addresses = info.parsed_addresses(IPVersion.V4Only)
    if not addresses:
        return None
    said = {key: value or "" for key, value in info.decoded_properties.items()}
    host = (info.server or "").partition(".")[0]
    return Found(
        kind="agent",
        name=_fit(said.get("name") or host or name.removesuffix(f".{SERVICE}")),
        address=addresses[0],
        port=info.port,
        scheme=said.get("scheme") or "http",
        version=said.get("version", ""),
    )


async def _fresh_names(mdns: AsyncZeroconf, seconds: float) -> list[tuple[str, str]]:
    numbered = [f"{DEFAULT_NAME}-{n}" for n in range(2, NUMBERED_MOST + 1)]
    names = [DEFAULT_NAME, *numbered]
    found = await asyncio.gather(*(_address(mdns, name, seconds) for name in names))
    return [(n, a) for n, a in zip(names, found, strict=True) if a is not None]


async def _address(mdns: AsyncZeroconf, name: str, seconds: float) -> str | None:
    """Of `NAME.local`, by mDNS alone: the system's resolver may know no mDNS."""
    resolver = AddressResolverIPv4(f"{name}.local.")
    if not await resolver.async_request(mdns.zeroconf, seconds * 1000):
        return None
    addresses = resolver.parsed_addresses(IPVersion.V4Only)
    return addresses[0] if addresses else None


async def _reachable(found: Sequence[Found]) -> list[Found]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(pi: Found) -> Found | None:
        async with room:
            return pi if await _opens(pi.address, pi.port) else None

    return [pi for pi in await asyncio.gather(*map(one, found)) if pi is not None]


async def _opens(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _name_of(address: str) -> str:
    return "pi-" + address.replace(".", "-")


def _fit(text: str) -> str:
    """As an inventory takes names."""
    plain = "".join(
        c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text
    )
    return plain.strip("-.") or "node"
