"""A node that avahi announces, as the role installs it, is found by its name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controller.deploy.release import find_ansible

ROLE = find_ansible() / "roles" / "edge_agent"
SETTINGS = """[server]
host-name=attic
use-ipv6=no
enable-dbus=no
"""
# In a network and a mount namespace of its own: SERVICES SETTINGS PYTHON.
IN_A_NETWORK_OF_ITS_OWN = """
ip link set lo up && ip link add d0 type veth peer name d1 && ip link set d1 up &&
ip address add 192.0.2.1/24 dev d0 &&
ip link set d0 multicast on up && ip route add 224.0.0.0/4 dev d0 || exit 77
mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon || exit 77
mount --bind "$1" /etc/avahi/services || exit 77
avahi-daemon --no-drop-root --no-chroot --no-rlimits -f "$2" >/run/log 2>&1 &
daemon=$!
sleep 1
"$3" -c 'import asyncio, dataclasses, json; from controller.fleet.discover import discover
found = asyncio.run(discover(seconds=2, interfaces=["192.0.2.1"]))
print(json.dumps([dataclasses.asdict(one) for one in found]))' || cat /run/log >&2
kill $daemon
wait $daemon
"""


def render(folder: Path, **variables: object) -> Path:
    """The service file, by Ansible itself."""
    file = folder / "edgewhisk.service"
    arguments = f"src={ROLE}/templates/avahi.service.j2 dest={file}"
    subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "adhoc", "attic", "-i", "attic,"),
            *("-c", "local", "-m", "ansible.builtin.template", "-a", arguments),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
            *("-e", json.dumps(variables)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return file


@pytest.mark.timeout(90)
def test_what_the_role_lets_avahi_announce_is_discovered(tmp_path: Path) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if not shutil.which("avahi-daemon", path=path):
        pytest.skip("apt-get install avahi-daemon")
    services = tmp_path / "services"
    services.mkdir()
    render(
        services,
        edge_agent_tls_on=True,
        edge_agent_tls_port=8443,
        edge_agent_release="0.3.0+1a2b",
    )
    settings = tmp_path / "avahi.conf"
    settings.write_text(SETTINGS)
    ran = subprocess.run(
        [
            *("unshare", "--net", "--mount", "sh", "-c", IN_A_NETWORK_OF_ITS_OWN),
            *("announce", str(services), str(settings), sys.executable),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PATH": path},
    )
    if ran.returncode == 77 or "Operation not permitted" in ran.stderr:
        pytest.skip(f"no network of one's own here: {ran.stderr.strip()[:200]}")

    assert ran.stdout, ran.stderr
    assert json.loads(ran.stdout) == [
        {
            "kind": "agent",
            "name": "attic",
            "address": "192.0.2.1",
            "port": 8443,
            "scheme": "https",
            "version": "0.3.0+1a2b",
        }
    ], ran.stderr
