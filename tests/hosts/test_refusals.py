"""Machines that cannot be nodes: each named with the reason and the way out.

One machine under many names: what is wrong with each is a user of it, a key, a port
that is taken, or a variable of the inventory. One run meets all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.hosts.conftest import run
from tests.hosts.site import Outcome, Site

if TYPE_CHECKING:
    from tests.hosts.conftest import Lab

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(300)]

TAKEN = 8443
# A user without sudo, one whose sudo asks for a password, one in whose programs it is
# 1970, and a program on a port.
MADE_SO = f"""
set -e
for user in guest ann late; do
  useradd -m -s /bin/bash $user
  cp -r /home/pi/.ssh /home/$user/
  chown -R $user: /home/$user
done
echo guest:secret | chpasswd
echo 'ann ALL=(ALL) ALL' > /etc/sudoers.d/ann
echo 'late ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/late
echo 'Defaults:late secure_path="/opt/1970:/usr/sbin:/usr/bin:/sbin:/bin"' >> /etc/sudoers.d/late
mkdir -p /opt/1970
printf '#!/bin/sh\\nexec /bin/date -d @0 "$@"\\n' > /opt/1970/date
chmod +x /opt/1970/date
systemd-run --quiet python3 -m http.server {TAKEN}
"""

# host -> its variables, what its reason says, and the way out in it
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "off": ({"ansible_host": "10.77.0.99"}, "No route to host", "is the machine on"),
    "stranger": (
        {"ansible_ssh_private_key_file": "OTHER_KEY"},
        "Permission denied (publickey",
        "ssh-copy-id",
    ),
    "guest": (
        {"ansible_user": "guest", "ansible_become_password": "secret"},
        "guest is not in the sudoers file",
        "give this user sudo",
    ),
    "silent": ({"ansible_user": "ann"}, "password", "set ansible_become_password"),
    "late": ({"ansible_user": "late"}, "its clock says 1970-01-01", "timedatectl"),
    "full": ({"preflight_disk_mb": 10**8}, "MB of disk are free", "apt-get clean"),
    "other": ({"preflight_machines": ["riscv64"]}, "x86_64 with 64-bit", "flash"),
    "old": ({"preflight_python": "3.99"}, "is too old, 3.99 is needed", "upgrade"),
    "bare": (
        {"ansible_python_interpreter": "/usr/bin/python3.99"},
        "/usr/bin/python3.99",
        "apt-get install python3",
    ),
    "busy": (
        {"edge_agent_tls_port": TAKEN},
        f"a port is taken: {TAKEN} by python3",
        "set edge_agent_port",
    ),
}


@pytest.fixture(scope="module")
def refused(
    lab: Lab, wheelhouse: Path, edgectl: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("refused")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "other")
    with lab.machine("blank", 9) as machine:
        site = Site((machine,), folder, wheelhouse, edgectl)
        machine.ssh(f"sudo sh <<'END'\n{MADE_SO}END")
        hosts = {}
        for name, (variables, _, _) in REFUSED.items():
            found = {"ansible_host": machine.address, **variables}
            if "ansible_ssh_private_key_file" in found:
                found["ansible_ssh_private_key_file"] = str(folder / "other")
            hosts[name] = found
        yield site.deploy(site.inventory(hosts=hosts), "--check")


@pytest.mark.parametrize("name", REFUSED)
def test_a_machine_that_cannot_be_a_node_is_named_with_reason_and_fix(
    name: str, refused: Outcome
) -> None:
    _, reason, fix = REFUSED[name]
    host = refused.host(name)

    assert host["failed"] + host["unreachable"] == 1, refused.talk
    assert reason in host["reason"]
    assert fix in host["reason"]
    assert "\n" not in host["reason"]


def test_the_others_go_on_and_the_exit_code_is_1(refused: Outcome) -> None:
    assert refused.code == 1
    assert refused.host("blank")["reason"] is None, refused.talk
    assert refused.host("blank")["changed"] > 0
