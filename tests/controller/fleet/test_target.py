"""Whom a command talks to: the order, and one clear line when there is nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.fleet.local_state import LocalNode, LocalState, write_state
from controller.fleet.process import Process, birth
from controller.fleet.target import (
    Choice,
    TargetError,
    api_url,
    check_key,
    choose,
    parse_properties,
)

KEY = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:secret"


def me() -> Process:
    return Process(os.getpid(), birth(os.getpid()) or "")


def local_fleet(directory: Path, *, up: bool = True) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    node = LocalNode(
        name="node1",
        data="d",
        log="l",
        url="http://127.0.0.1:1",
        key=KEY,
        system_key="s:k",
        process=me() if up else None,
    )
    gone = LocalNode(name="node2", data="d", log="l", url="http://127.0.0.1:2", key=KEY)
    write_state(directory, LocalState(nodes=[node, gone]))
    return directory


def inventory(path: Path) -> Path:
    path.write_text(
        "all:\n  vars: {edge_agent_key: 'u:k'}\n"
        "  hosts:\n    pi1: {ansible_host: 10.0.0.1}\n    pi2: {}\n"
    )
    return path


def test_each_source_wins_over_those_after_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    local_fleet(home / ".local/share/edgewhisk/local")
    (home / ".wskprops").write_text(f"APIHOST=props.example\nAUTH={KEY}\n")
    environ = {"OPENWHISK_APIHOST": "env.example", "OPENWHISK_AUTH": KEY}

    def first(choice: Choice, environ: dict[str, str]) -> str:
        return choose(choice, environ=environ, home=home).targets[0].url

    everything = Choice(
        fleet=inventory(tmp_path / "fleet.yaml"),
        dir=local_fleet(tmp_path / "local"),
        url="flag.example",
        auth=KEY,
    )
    assert first(everything, environ) == "http://10.0.0.1:3233"
    assert first(Choice(dir=everything.dir, url="x"), environ) == "http://127.0.0.1:1"
    assert first(Choice(url="flag.example", auth=KEY), environ) == (
        "https://flag.example"
    )
    assert first(Choice(), environ) == "https://env.example"
    assert first(Choice(), {}) == "https://props.example"
    (home / ".wskprops").unlink()
    assert first(Choice(), {}) == "http://127.0.0.1:1"


def test_only_running_nodes_of_a_local_fleet_are_targets(tmp_path: Path) -> None:
    chosen = choose(Choice(dir=local_fleet(tmp_path)), environ={}, home=tmp_path)
    assert [t.name for t in chosen.targets] == ["node1"]
    assert chosen.targets[0].system_key == "s:k"


def test_a_process_id_used_by_another_now_is_no_running_node(tmp_path: Path) -> None:
    directory = local_fleet(tmp_path)
    stale = LocalNode(
        name="node1", data="", log="", process=Process(os.getpid(), "long ago")
    )
    write_state(directory, LocalState(nodes=[stale]))
    with pytest.raises(TargetError, match="is down"):
        choose(Choice(dir=directory), environ={}, home=tmp_path)


def test_a_fleet_that_is_down_is_not_found_by_itself(tmp_path: Path) -> None:
    local_fleet(tmp_path / ".local/share/edgewhisk/local", up=False)
    with pytest.raises(TargetError, match="no target"):
        choose(Choice(), environ={}, home=tmp_path)


@pytest.mark.parametrize(
    ("choice", "environ", "said"),
    [
        (Choice(), {}, "no target: give --target"),
        (Choice(url="h"), {}, "--target needs --auth"),
        (Choice(url="h", auth="nonsense"), {}, "--auth: a key looks like"),
        (Choice(url="http://", auth=KEY), {}, "not the address"),
        (Choice(url="ftp://h", auth=KEY), {}, "not the address"),
        (Choice(url="http://h:port", auth=KEY), {}, "not the address"),
        (Choice(url="http://u:p@h", auth=KEY), {}, "not the address"),
        (Choice(dir=Path("/nowhere")), {}, "no local fleet in /nowhere"),
        (Choice(fleet=Path("/nowhere.yaml")), {}, "/nowhere.yaml: no such file"),
        (Choice(), {"OPENWHISK_APIHOST": "h"}, "OPENWHISK_AUTH is not"),
        (Choice(), {"WSK_CONFIG_FILE": "/nowhere"}, "/nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, choice: Choice, environ: dict[str, str], said: str
) -> None:
    with pytest.raises(TargetError, match=said) as raised:
        choose(choice, environ=environ, home=tmp_path)
    assert "\n" not in str(raised.value)


def test_a_state_file_that_is_garbage_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text("{")
    with pytest.raises(Exception, match=r"fleet\.json: cannot be read") as raised:
        choose(Choice(dir=tmp_path), environ={}, home=tmp_path)
    assert raised.value.exit_code == 2  # type: ignore[attr-defined]


def test_one_node_may_be_named(tmp_path: Path) -> None:
    fleet = inventory(tmp_path / "fleet.yaml")
    chosen = choose(Choice(fleet=fleet, node="pi2"), environ={}, home=tmp_path)
    assert [t.url for t in chosen.targets] == ["http://pi2:3233"]
    with pytest.raises(TargetError, match=r"no node 'pi9'.*pi1, pi2"):
        choose(Choice(fleet=fleet, node="pi9"), environ={}, home=tmp_path)


def test_the_system_key_comes_from_the_option_or_the_environment(
    tmp_path: Path,
) -> None:
    choice = Choice(url="h", auth=KEY)
    environ = {"OPENWHISK_SYSTEM_AUTH": "s:e"}
    chosen = choose(choice, environ=environ, home=tmp_path)
    assert chosen.targets[0].system_key == "s:e"


def test_wskprops_are_read_as_wsk_writes_them(tmp_path: Path) -> None:
    text = f"# by hand\nAPIHOST=http://h:3233\n AUTH = {KEY}\nNAMESPACE=work\nAPIVERSION=v1\n"
    assert parse_properties(text)["AUTH"] == KEY
    (tmp_path / "props").write_text(text)
    chosen = choose(
        Choice(), environ={"WSK_CONFIG_FILE": str(tmp_path / "props")}, home=tmp_path
    )
    target = chosen.targets[0]
    assert (target.url, target.namespace) == ("http://h:3233", "work")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("host", "https://host"),
        ("host:8443", "https://host:8443"),
        ("http://host:3233/api/v1", "http://host:3233"),
        ("https://[::1]:1", "https://[::1]:1"),
    ],
)
def test_a_bare_host_is_https(host: str, url: str) -> None:
    assert api_url(host) == url


def test_keys_are_not_shown(tmp_path: Path) -> None:
    chosen = choose(Choice(url="h", auth=KEY), environ={}, home=tmp_path)
    assert KEY not in repr(chosen)
    with pytest.raises(TargetError) as raised:
        check_key("geheim", source="--auth")
    assert "geheim" not in str(raised.value)
