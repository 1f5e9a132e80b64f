"""Machines found by real announcements and a real table of neighbours."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from controller.fleet.discover import Found, discover, once, raspberry_pis

LOOPBACK = ["127.0.0.1"]
IN_A_NETWORK_OF_ITS_OWN = """
ip link set lo up && ip link add pi0 type veth peer name pi1 &&
ip address add 192.0.2.1/24 dev pi0 && ip link set pi0 up && ip link set pi1 up &&
ip neighbour add 192.0.2.5 lladdr b8:27:eb:00:00:01 dev pi0 &&
ip neighbour add 192.0.2.6 lladdr 00:11:22:33:44:55 dev pi0 &&
ip neighbour add 192.0.2.7 lladdr dc:a6:32:00:00:02 nud failed dev pi0 &&
exec "$0" -c 'import asyncio, json; from controller.fleet.discover import neighbours
print(json.dumps(asyncio.run(neighbours())))'
"""


@asynccontextmanager
async def announced(
    service: str, host: str, port: int, **said: str
) -> AsyncIterator[None]:
    """Announce a service on the loopback interface, as avahi would."""
    info = AsyncServiceInfo(
        f"{service}.local.",
        f"test {host} {port}.{service}.local.",
        port=port,
        properties=said,
        server=f"{host}.local.",
        addresses=[socket.inet_aton("127.0.0.1")],
    )
    async with AsyncZeroconf(
        interfaces=LOOPBACK, ip_version=IPVersion.V4Only
    ) as zeroconf:
        await (await zeroconf.async_register_service(info, allow_name_change=True))
        try:
            yield
        finally:
            await (await zeroconf.async_unregister_service(info))


@pytest.mark.timeout(30)
async def test_an_agent_that_announces_itself_is_found() -> None:
    async with announced(
        "_edgewhisk._tcp", "attic", 4433, scheme="https", version="0.3", name="Attic 1"
    ):
        found = await discover(seconds=2, interfaces=LOOPBACK)

    assert (
        Found("agent", "Attic-1", "127.0.0.1", 4433, scheme="https", version="0.3")
        in found
    )


@pytest.mark.timeout(30)
async def test_a_fresh_pi_is_found_by_its_name_when_ssh_answers() -> None:
    async with announced("_test._tcp", "raspberrypi-3", 1):
        server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        async with server:
            found = await discover(seconds=1, interfaces=LOOPBACK, ssh_port=port)
        silent = await discover(seconds=1, interfaces=LOOPBACK, ssh_port=port)

    pi = Found("pi", "raspberrypi-3", "127.0.0.1", port)
    assert pi in found
    assert pi not in silent


def test_neighbours_are_known_by_their_makers_addresses() -> None:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("apt-get install util-linux iproute2")
    command = ["unshare", "--map-root-user", "--net", "sh", "-c"]
    ran = subprocess.run(
        [*command, IN_A_NETWORK_OF_ITS_OWN, sys.executable],
        capture_output=True,
        check=False,
        timeout=15,
        text=True,
    )
    if "Operation not permitted" in ran.stderr or "not supported" in ran.stderr:
        pytest.skip(f"no network of one's own here: {ran.stderr.strip()}")

    assert json.loads(ran.stdout) == ["192.0.2.5"], ran.stderr


def test_what_is_no_table_of_neighbours_has_none() -> None:
    assert raspberry_pis(b"") == raspberry_pis(b"Object unknown") == []


def test_a_machine_that_is_an_agent_is_no_fresh_pi() -> None:
    agent = Found("agent", "attic", "192.0.2.5", 443)
    other = Found("agent", "attic-too", "192.0.2.5", 3233)
    same = Found("pi", "pi-192-0-2-5", "192.0.2.5", 22)
    fresh = Found("pi", "raspberrypi", "192.0.2.9", 22)
    again = Found("pi", "pi-192-0-2-9", "192.0.2.9", 22)

    assert once([agent, other, same, fresh, again]) == [agent, other, fresh]
