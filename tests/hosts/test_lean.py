"""`edgectl deploy --engine lean` to a real machine: upstream's jar under its unit.

Upstream's own jar is a hundred megabytes and comes from elsewhere, so a small jar made
here stands in for it (`standalone/Standalone.java`), on a Java that is linked here.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.hosts.conftest import run
from tests.hosts.site import FINGERPRINT, Outcome, Site
from tests.hosts.wsk import make_archive, sha256

if TYPE_CHECKING:
    from tests.hosts.conftest import Lab

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.timeout(600)]

SOURCE = Path(__file__).parent / "standalone" / "Standalone.java"
PUBLIC = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A jar, and a Java that runs it."""
    if not (shutil.which("javac") and shutil.which("jlink")):
        pytest.skip("apt-get install default-jdk-headless")
    folder = tmp_path_factory.mktemp("java")
    jar = folder / "openwhisk-standalone.jar"
    run("javac", "-d", folder / "classes", SOURCE)
    run(*("jar", "cfe", jar, "Standalone", "-C", folder / "classes", "."))
    modules = "java.base,jdk.httpserver"
    run("jlink", "--strip-debug", "--add-modules", modules, "--output", folder / "jre")
    return jar, folder / "jre"


@pytest.fixture(scope="module")
def site(
    lab: Lab,
    java: tuple[Path, Path],
    edgectl: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("lean")
    with lab.machine("attic", 7) as machine:
        shutil.copytree(java[1], lab.folder / "attic" / "root" / "opt" / "java")
        machine.ssh("/opt/java/bin/java -version && sudo true")
        yield Site((machine,), folder, folder, edgectl)


@pytest.fixture(scope="module")
def wsk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive as upstream's releases are."""
    return make_archive(tmp_path_factory.mktemp("wsk"))


@pytest.fixture(scope="module")
def variables(java: tuple[Path, Path], wsk: Path) -> dict[str, Any]:
    return {
        "openwhisk_lean_jar": str(java[0]),
        "openwhisk_lean_jar_sha256": sha256(java[0]),
        "openwhisk_lean_java": "/opt/java/bin/java",
        "openwhisk_lean_packages": [],
        "openwhisk_lean_heap": "64m",
        "openwhisk_lean_memory_max": "200M",
        "openwhisk_lean_user_memory": "512 m",
        "openwhisk_lean_image_prefix": "mine",
        "openwhisk_lean_image_tag": "1.2.3",
        "wsk_archive": str(wsk),
        "wsk_archive_sha256": sha256(wsk),
    }


def deploy(site: Site, variables: dict[str, Any], *options: str) -> Outcome:
    inventory = str(site.inventory(**variables))
    return site.play("deploy", "--engine", "lean", "-i", inventory, *options)


@pytest.fixture(scope="module")
def deployed(site: Site, variables: dict[str, Any]) -> tuple[Outcome, Outcome, bool]:
    """A check of the blank machine, the deployment, whether the check changed it."""
    before = site.machine.ssh(FINGERPRINT)
    checked = deploy(site, variables, "--check")
    unchanged = site.machine.ssh(FINGERPRINT) == before
    return checked, deploy(site, variables), unchanged


def test_a_check_of_a_blank_machine_changes_nothing(
    deployed: tuple[Outcome, Outcome, bool],
) -> None:
    checked, _, unchanged = deployed

    assert checked.code == 0, checked.talk
    assert unchanged


def test_the_jar_runs_as_its_user_within_its_limits(
    site: Site, deployed: tuple[Outcome, Outcome, bool]
) -> None:
    outcome = deployed[1]
    assert outcome.code == 0, outcome.talk
    unit = "systemctl show openwhisk-lean.service --property"

    shown = site.machine.ssh(f"{unit} User,MemoryMax,ActiveState,UnitFileState")
    command = site.machine.ssh("ps -u openwhisk -o args=")
    conf = site.machine.ssh("sudo cat /etc/openwhisk-lean/lean.conf")
    runtimes = json.loads(
        site.machine.ssh("sudo cat /etc/openwhisk-lean/runtimes.json")
    )

    assert set(shown.split()) == {
        *("User=openwhisk", f"MemoryMax={200 << 20}"),
        *("ActiveState=active", "UnitFileState=enabled"),
    }
    assert "-Xmx64m" in command
    assert 'user-memory = "512 m"' in conf
    assert PUBLIC not in conf
    (nodejs,) = runtimes["runtimes"]["nodejs"]
    assert nodejs["image"] == {
        "prefix": "mine",
        "name": "action-nodejs-v20",
        "tag": "1.2.3",
    }
    assert "in memory" in outcome.talk


def test_its_target_serves_every_client_command(
    site: Site, deployed: tuple[Outcome, Outcome, bool]
) -> None:
    assert deployed[1].code == 0
    source = site.folder / "add.js"
    source.write_text("function main(a) { return {sum: a.a + a.b}; }")
    on = ("--target", "attic-lean", "--json")

    put = site.run("action", "put", "add", str(source), *on)
    invoked = site.run("action", "invoke", "add", "-p", "a", "1", "-p", "b", "2", *on)
    used = site.run("target", "use", "attic-lean")
    listed = site.run("action", "list", "--json")

    assert put.returncode == 0, put.stderr
    assert json.loads(invoked.stdout)["response"]["result"] == {"sum": 3}
    assert used.returncode == 0, used.stderr
    assert [one["name"] for one in json.loads(listed.stdout)] == ["add"]


def test_wsk_is_there_with_its_properties(
    site: Site, deployed: tuple[Outcome, Outcome, bool]
) -> None:
    assert deployed[1].code == 0
    kept = (site.folder / "host_vars/attic/openwhisk_lean.yaml").read_text()
    key = re.search(r'openwhisk_lean_key: "(.+)"', kept)

    said = site.machine.ssh("wsk")

    assert key is not None
    assert said.splitlines() == [
        "APIHOST=http://127.0.0.1:3233",
        f"AUTH={key[1]}",
        "NAMESPACE=_",
    ]


def test_a_second_deployment_changes_nothing(
    site: Site, variables: dict[str, Any], deployed: tuple[Outcome, Outcome, bool]
) -> None:
    assert deployed[1].code == 0
    before = site.machine.ssh(FINGERPRINT)

    again = deploy(site, variables)

    assert again.code == 0, again.talk
    assert again.changed == {"attic": 0}, again.talk
    assert site.machine.ssh(FINGERPRINT) == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (f"openwhisk_lean_jar_sha256={'a' * 64}", "its SHA-256 is"),
        ("openwhisk_lean_jar=", "set one of openwhisk_lean_jar"),
        (f"wsk_archive_sha256={'a' * 64}", "wsk_archive_sha256 is aaa"),
        (f"openwhisk_lean_key={PUBLIC}:x", "not the keys that upstream publishes"),
        ("openwhisk_lean_java=/opt/none", "/opt/none: No such file or directory"),
    ],
    ids=["checksum", "nothing", "wsk", "key", "java"],
)
def test_what_is_wrong_is_one_clear_line(
    site: Site,
    variables: dict[str, Any],
    deployed: tuple[Outcome, Outcome, bool],
    wrong: str,
    said: str,
) -> None:
    assert deployed[1].code == 0
    more = {"openwhisk_lean_health_timeout_s": 3}

    outcome = deploy(site, variables | more, "--var", wrong)

    assert outcome.code == 1
    assert said in outcome.host("attic")["reason"]
    assert "\n" not in outcome.host("attic")["reason"]


def test_remove_leaves_nothing(
    site: Site, variables: dict[str, Any], deployed: tuple[Outcome, Outcome, bool]
) -> None:
    assert deployed[1].code == 0
    targets = site.folder / ".config/edgewhisk/targets.toml"
    assert "attic-lean" in tomllib.loads(targets.read_text())
    inventory = str(site.inventory(**variables))

    outcome = site.play("remove", "--engine", "lean", "-i", inventory, "--yes")
    left = site.machine.ssh(
        "ls -d /opt/openwhisk-lean /etc/openwhisk-lean /var/lib/openwhisk-lean /opt/wsk"
        " /usr/local/bin/wsk /etc/systemd/system/openwhisk*"
        " ~/.wskprops 2>/dev/null; id openwhisk 2>/dev/null; ss -Hltn 'sport = :3233'; true"
    )

    assert outcome.code == 0, outcome.talk
    assert left == ""
    assert tomllib.loads(targets.read_text()) == {}
