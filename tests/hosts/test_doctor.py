"""`edgectl doctor` on a real machine: by its API, and over SSH when that is silent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.hosts.site import Outcome, Site
from tests.hosts.wsk import make_archive, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hosts.conftest import Lab

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(
    lab: Lab,
    wheelhouse: Path,
    edgectl: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    with lab.machine("cellar", 8) as machine:
        yield Site((machine,), tmp_path_factory.mktemp("doctor"), wheelhouse, edgectl)


@pytest.fixture(scope="module")
def wsk(site: Site) -> dict[str, str]:
    archive = make_archive(site.folder)
    return {"wsk_archive": str(archive), "wsk_archive_sha256": sha256(archive)}


@pytest.fixture(scope="module")
def deployed(site: Site, wsk: dict[str, str]) -> Outcome:
    site.machine.ssh("sudo mkdir -p /etc/avahi/services")  # as if avahi were there
    return site.deploy(site.inventory(**wsk))


def looked(site: Site, **variables: Any) -> tuple[int, dict[str, Any]]:
    inventory = str(site.inventory(**variables))
    done = site.run("doctor", "cellar", "--fleet", inventory, "--json")
    assert done.stdout, done.stderr
    (found,) = json.loads(done.stdout)
    return done.returncode, found


def ids(found: dict[str, Any], *, serious: bool) -> set[str]:
    return {one["id"] for one in found["problems"] if one["serious"] is serious}


def test_a_node_that_is_well_has_advice_at_most(site: Site, deployed: Outcome) -> None:
    assert deployed.code == 0, deployed.talk

    code, found = looked(site)

    assert (code, ids(found, serious=True)) == (0, set()), found["problems"]
    assert found["answers"]
    assert found["report"]["isolation"]["level"] in {"namespaces", "full"}


def test_where_avahi_is_the_node_is_announced_and_wsk_is_there(
    site: Site, wsk: dict[str, str], deployed: Outcome
) -> None:
    assert deployed.code == 0
    announced = site.machine.ssh("cat /etc/avahi/services/edgewhisk.service")
    said = site.machine.ssh("wsk").splitlines()

    again = site.deploy(site.inventory(**wsk))

    assert said == [
        "APIHOST=http://127.0.0.1:3233",
        f"AUTH={site.key(site.machine)}",
        "NAMESPACE=_",
    ]
    assert "<txt-record>name=cellar</txt-record>" in announced
    assert "<port>443</port>" in announced
    assert again.changed == {"cellar": 0}, again.talk


def test_a_service_that_does_not_start_tells_its_last_words(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    settings = "/etc/edgewhisk/edge-agent.toml"
    site.machine.ssh(
        f"sudo cp {settings} /root/kept; echo pool=1 | sudo tee -a {settings}"
    )
    site.machine.ssh("sudo systemctl stop edge-agent.socket edge-agent.service")
    site.machine.ssh("sudo systemctl start edge-agent.service || true")

    code, found = looked(site)

    site.machine.ssh("sudo systemctl stop edge-agent.socket edge-agent.service")
    site.machine.ssh(f"sudo cp /root/kept {settings}")
    assert code == 1
    assert not found["answers"]
    (service,) = [one for one in found["problems"] if one["id"] == "service"]
    assert "and said: error: " in service["text"]
    assert "journalctl -u edge-agent" in service["mend"]


def test_a_port_that_another_program_holds_is_named(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    site.machine.ssh("sudo systemctl stop edge-agent.socket edge-agent.service")
    listen = "import socket; s = socket.create_server(('', 443)); [s.accept() for _ in range(99)]"
    site.machine.ssh(f'sudo systemd-run --unit=thief python3 -c "{listen}"')

    _, found = looked(site)

    site.machine.ssh("sudo systemctl stop thief")
    (port,) = [one for one in found["problems"] if one["id"] == "port"]
    assert port["text"].startswith("port 443 is taken by python3")


def test_a_host_without_an_agent_and_one_that_is_off_are_told_apart(
    site: Site, deployed: Outcome
) -> None:
    assert deployed.code == 0
    removed = site.play("remove", "-i", str(site.inventory()), "--yes")
    assert removed.code == 0, removed.talk
    assert (
        site.machine.ssh("ls /etc/avahi/services; command -v wsk; cat .wskprops; true")
        == ""
    )

    code, found = looked(site)
    _, off = looked(site, hosts={"cellar": {"ansible_host": "10.77.0.99"}})

    assert code == 1
    assert "not-installed" in ids(found, serious=True)
    (ssh,) = [one for one in off["problems"] if one["id"] == "ssh"]
    assert "No route to host" in ssh["text"]
