"""Where host and key come from; this module of the load tests needs no Locust."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from loadtests._target import Place, TargetError, find_target

KEY, OTHER = "uuid:key", "uuid:other"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def write_fleet(home: dict[str, str], *processes: dict[str, object] | None) -> None:
    folder = Path(home["HOME"], ".local/share/edgewhisk/local")
    folder.mkdir(parents=True)
    nodes = [
        {
            "name": f"node{n}",
            "url": f"http://127.0.0.1:{9000 + n}",
            "key": f"uuid:key{n}",
            "system_key": f"uuid:system{n}",
            "data": "",
            "log": "",
            "process": process,
        }
        for n, process in enumerate(processes, 1)
    ]
    (folder / "fleet.json").write_text(json.dumps({"nodes": nodes, "broker": None}))


def this_process() -> dict[str, object]:
    born = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    return {"pid": os.getpid(), "born": f"boot/{born}"}


def test_options_come_first(home: dict[str, str]) -> None:
    environ = {**home, "OPENWHISK_APIHOST": "http://b", "OPENWHISK_AUTH": OTHER}
    target = find_target(Place("http://a/", KEY), environ=environ)
    assert (target.url, target.auth, target.system_auth) == ("http://a", KEY, None)


def test_then_the_environment(home: dict[str, str]) -> None:
    Path(home["HOME"], ".wskprops").write_text(f"APIHOST=http://c\nAUTH={OTHER}\n")
    environ = {**home, "OPENWHISK_APIHOST": "http://b", "OPENWHISK_AUTH": KEY}
    environ["OPENWHISK_SYSTEM_AUTH"] = "uuid:system"
    target = find_target(Place(), environ=environ)
    assert (target.url, target.auth) == ("http://b", KEY)
    assert target.system_auth == "uuid:system"


def test_then_the_property_file_of_wsk(home: dict[str, str]) -> None:
    Path(home["HOME"], ".wskprops").write_text(f"APIHOST=c:3233\nAUTH={KEY}\n")
    target = find_target(Place(), environ=home)
    assert (target.url, target.auth) == ("https://c:3233", KEY)


def test_which_may_be_another_file(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "props").write_text(f"APIHOST=http://d\nAUTH={KEY}\n")
    environ = {**home, "WSK_CONFIG_FILE": str(tmp_path / "props")}
    assert find_target(Place(), environ=environ).url == "http://d"


def test_then_the_first_node_of_the_local_fleet_that_runs(home: dict[str, str]) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    dead = {"pid": gone.pid, "born": "boot/1"}
    write_fleet(home, None, dead, this_process())
    target = find_target(Place(), environ=home)
    assert (target.url, target.auth) == ("http://127.0.0.1:9003", "uuid:key3")
    assert target.system_auth == "uuid:system3"


def test_a_node_of_the_fleet_knows_its_own_key(home: dict[str, str]) -> None:
    Path(home["HOME"], ".wskprops").write_text(f"APIHOST=http://c\nAUTH={OTHER}\n")
    write_fleet(home, this_process(), this_process())
    target = find_target(Place("http://127.0.0.1:9002"), environ=home)
    assert target.auth == "uuid:key2"


def test_no_other_host_is_given_the_key_of_a_node(home: dict[str, str]) -> None:
    write_fleet(home, this_process())
    with pytest.raises(TargetError, match="no key"):
        find_target(Place("http://elsewhere"), environ=home)


@pytest.mark.parametrize("state", ["", "{", "[]", '{"nodes": [1]}', '{"nodes": [{}]}'])
def test_a_broken_state_file_is_no_fleet(home: dict[str, str], state: str) -> None:
    write_fleet(home)
    Path(home["HOME"], ".local/share/edgewhisk/local/fleet.json").write_text(state)
    with pytest.raises(TargetError, match="no host"):
        find_target(Place(), environ=home)


@pytest.mark.parametrize("key", ["nocolon", "a:b\n", "a:ä"])
def test_a_malformed_key_is_refused(home: dict[str, str], key: str) -> None:
    with pytest.raises(TargetError, match="UUID:KEY"):
        find_target(Place("http://a", key), environ=home)
