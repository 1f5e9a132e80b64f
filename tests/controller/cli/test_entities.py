"""Actions, triggers, rules, packages and activations on two real nodes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.local import LocalFleet

pytestmark = [pytest.mark.timeout(90), pytest.mark.usefixtures("fleet")]

HELLO = "def main(p):\n    print('hi')\n    return {'hello': p.get('name', 'you')}\n"
Edgectl = Callable[..., Any]


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    file = tmp_path / "hello.py"
    file.write_text(HELLO)
    return file


def test_an_action_is_put_on_every_node_and_invoked_on_one(
    edgectl: Edgectl, hello: Path
) -> None:
    put = edgectl("action", "put", "hello", hello, "-p", "name", "Ann", "--memory", 128)
    assert (put.code, put.out) == (0, "")
    assert put.err == "ok: created action hello on node1, node2\n"
    again = edgectl("action", "put", "hello", hello, "--json")
    assert "updated action hello" in again.err
    assert "code" not in again.json["exec"]

    invoked = edgectl("action", "invoke", "hello", "--result", "--json")
    assert (invoked.code, invoked.json) == (0, {"hello": "Ann"})
    assert "ok: invoked hello with id" in invoked.err
    record = edgectl("action", "invoke", "hello", "-p", "name", '"Bob"', "--json").json
    assert record["response"]["result"] == {"hello": "Bob"}

    listed = edgectl("action", "list", "--json").json
    assert [(a["node"], a["name"], a["limits"]["memory"]) for a in listed] == [
        ("node1", "hello", 128),
        ("node2", "hello", 128),
    ]
    plain = edgectl("action", "list").out.strip().split("\t")
    assert (plain[0], plain[-1]) == ("hello", "node1, node2")

    assert edgectl("action", "get", "hello", "--code").out == HELLO + "\n"
    assert edgectl("action", "get", "hello").json["exec"]["binary"] is False
    gone = edgectl("action", "delete", "hello")
    assert gone.err == "ok: deleted action hello on node1, node2\n"
    missing = edgectl("action", "delete", "hello")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err == (
        "error: actions/hello: The requested resource does not exist.\n"
    )


def test_an_action_that_fails_is_exit_code_1_with_its_answer(
    edgectl: Edgectl, tmp_path: Path
) -> None:
    file = tmp_path / "bad.py"
    file.write_text("def main(p):\n    return {'error': 'no way'}\n")
    edgectl("action", "put", "bad", file, "--node", "node1")
    said = edgectl("action", "invoke", "bad", "--node", "node1", "-r")
    assert (said.code, said.json) == (1, {"error": "no way"})
    assert said.err.endswith("error: bad: application error\n")


def test_what_is_handed_over_is_found_later_on_whichever_node(
    edgectl: Edgectl, hello: Path
) -> None:
    edgectl("action", "put", "hello", hello)
    handed = edgectl("action", "invoke", "hello", "--no-wait", "--json").json
    tailed = edgectl("action", "invoke", "hello", "--no-wait").out.strip()
    assert len(tailed) == 32
    for _ in range(100):
        record = edgectl("activation", "get", handed["activationId"])
        if record.code == 0:
            break
    assert record.json["response"]["result"] == {"hello": "you"}
    logs = edgectl("activation", "logs", handed["activationId"])
    assert logs.out.strip().endswith("stdout: hi")
    assert edgectl("activation", "result", handed["activationId"]).json == {
        "hello": "you"
    }
    listed = edgectl("activation", "list", "--name", "hello", "--json").json
    assert handed["activationId"] in {a["activationId"] for a in listed}
    assert {a["node"] for a in listed} <= {"node1", "node2"}


def test_parameters_come_from_a_file_or_stdin(
    edgectl: Edgectl, hello: Path, tmp_path: Path
) -> None:
    edgectl("action", "put", "hello", hello)
    file = tmp_path / "p.json"
    file.write_text('{"name": "File"}')
    from_file = edgectl("action", "invoke", "hello", "-r", "-P", file)
    assert from_file.json == {"hello": "File"}
    said = edgectl(
        "action", "invoke", "hello", "-r", "-P", "-", stdin=b'{"name": "Pipe"}'
    )
    assert said.json == {"hello": "Pipe"}


def test_a_zip_tells_its_kind(edgectl: Edgectl, tmp_path: Path) -> None:
    file = tmp_path / "z.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("__main__.py", HELLO)
    assert edgectl("action", "put", "z", file).code == 0
    shown = edgectl("action", "get", "z").json["exec"]
    assert shown["kind"].startswith("python:")
    assert shown["binary"] is True


def test_a_trigger_with_a_rule_runs_the_action(edgectl: Edgectl, hello: Path) -> None:
    edgectl("action", "put", "hello", hello)
    assert edgectl("trigger", "create", "t", "-p", "name", "Tess").code == 0
    unheard = edgectl("trigger", "fire", "t")
    assert (unheard.code, unheard.out) == (0, "")
    assert "no active rule" in unheard.err

    rule = edgectl("rule", "create", "r", "t", "hello", "--json")
    assert rule.json["status"] == "active"
    fired = edgectl("trigger", "fire", "t", "--json").json
    assert len(fired["activationId"]) == 32
    found: list[dict[str, Any]] = []
    for _ in range(100):
        found = edgectl("activation", "list", "--name", "hello", "--json").json
        if found:
            break
    assert edgectl("activation", "result", found[0]["activationId"]).json == {
        "hello": "Tess"
    }
    assert edgectl("trigger", "get", "t").json["rules"]

    edgectl("rule", "disable", "r")
    listed = edgectl("rule", "list", "--json").json
    assert {(r["name"], r["status"]) for r in listed} == {("r", "inactive")}
    edgectl("rule", "enable", "r")
    assert edgectl("rule", "get", "r").json["status"] == "active"
    assert edgectl("rule", "delete", "r").code == 0
    assert edgectl("trigger", "delete", "t").code == 0
    assert edgectl("trigger", "list", "--json").json == []


def test_packages_hold_actions(edgectl: Edgectl, hello: Path) -> None:
    assert edgectl("package", "create", "p", "-p", "name", "Pat").code == 0
    edgectl("action", "put", "p/hello", hello)
    assert edgectl("action", "invoke", "p/hello", "-r").json == {"hello": "Pat"}
    assert [a["name"] for a in edgectl("package", "get", "p").json["actions"]] == [
        "hello"
    ]
    assert {p["name"] for p in edgectl("package", "list", "--json").json} == {"p"}
    refused = edgectl("package", "delete", "p")
    assert refused.code == 1
    assert edgectl("package", "delete", "p", "--force").code == 0


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.rb", b"puts 1", "what kind is this?"),
        ("x.zip", b"no zip", "not a zip archive"),
        ("x.py", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_action_is_exit_code_2(
    edgectl: Edgectl, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    answer = edgectl("action", "put", "x", tmp_path / name)
    assert answer.code == 2
    assert said in answer.err


def test_what_the_host_calls_wrong_input_is_exit_code_2(
    edgectl: Edgectl, hello: Path
) -> None:
    assert edgectl("action", "put", "$", hello).code == 2
    assert edgectl("action", "put", "x", hello, "--kind", "cobol:1").code == 2
    assert edgectl("action", "put", "x", hello, "--memory", 1).code == 2
    assert edgectl("activation", "get", "xyz").code == 2


def test_a_topic_filter_that_cannot_be_is_exit_code_2_and_leaves_nothing(
    edgectl: Edgectl, hello: Path
) -> None:
    edgectl("action", "put", "hello", hello)
    wired = edgectl("on", "mqtt", "a/#/b", "hello", "--name", "wrong")
    assert (wired.code, wired.out) == (2, "")
    assert "topic filter 'a/#/b': level 2 is '#'" in wired.err
    assert edgectl("trigger", "list", "--json").json == []
    fed = edgectl(
        *("trigger", "create", "wrong", "--feed", "/whisk.system/mqtt/subscribe"),
        *("-p", "topic", "a", "-p", "nonsense", "1"),
    )
    assert fed.code == 2
    assert "nonsense" in fed.err
    assert edgectl("trigger", "list", "--json").json == []


@pytest.mark.parametrize(
    "command",
    [
        ("action", "get", ""),
        ("action", "get", "a/b/c"),
        ("action", "get", "bad/../name"),
        ("rule", "create", "x/y", "t", "hello"),
        ("trigger", "fire", "$t"),
    ],
)
def test_a_name_that_cannot_be_is_exit_code_2(
    edgectl: Edgectl, command: tuple[str, ...]
) -> None:
    refused = edgectl(*command)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1


def test_one_node_down_leaves_the_other_to_be_used(
    edgectl: Edgectl, hello: Path, fleet: LocalFleet
) -> None:
    edgectl("action", "put", "hello", hello)
    targets = ("--target", fleet.status().nodes[0].url, "--auth", "u:k")
    fleet.stop("node1")
    said = edgectl("action", "invoke", "hello", "-r")
    assert (said.code, said.json) == (0, {"hello": "you"})
    away = edgectl("action", "list", *targets)
    assert (away.code, away.out) == (1, "")
    assert "cannot connect" in away.err


def test_target_and_doctor_tell_of_the_fleet(
    edgectl: Edgectl, fleet: LocalFleet
) -> None:
    shown = edgectl("target", "--json").json
    assert shown["origin"] == f"local fleet {fleet.directory}"
    assert [t["answers"] for t in shown["targets"]] == [True, True]
    looked = edgectl("doctor", "node1", "--json").json
    assert [n["name"] for n in looked] == ["node1"]
    assert looked[0]["report"]["isolation"]["level"]


def test_tail_shows_what_ends(edgectl: Edgectl, hello: Path) -> None:
    import subprocess
    import sys

    edgectl("action", "put", "hello", hello)
    command = [sys.executable, "-m", "controller", "activation", "tail"]
    tail = subprocess.Popen(
        [*command, "--json", "-n", "1"], stdout=subprocess.PIPE, text=True
    )
    assert tail.stdout is not None
    while tail.poll() is None:
        edgectl("action", "invoke", "hello", "--no-wait")
    line = tail.stdout.read()
    tail.stdout.close()
    assert json.loads(line)["name"] == "hello"
    assert tail.returncode == 0


def test_an_inventory_names_the_same_nodes(
    edgectl: Edgectl, hello: Path, fleet: LocalFleet, tmp_path: Path
) -> None:
    hosts = {
        f"pi-{node.name}": {"edge_agent_url": node.url, "edge_agent_key": node.key}
        for node in fleet.status().nodes
    }
    file = tmp_path / "fleet.yaml"
    file.write_text(json.dumps({"all": {"hosts": hosts}}))
    said = edgectl("action", "put", "hello", hello, "--fleet", file)
    assert said.err == "ok: created action hello on pi-node1, pi-node2\n"
    one = edgectl("action", "list", "--fleet", file, "--node", "pi-node2", "--json")
    assert [a["node"] for a in one.json] == ["pi-node2"]
    wrong = edgectl("action", "list", "--fleet", file, "--auth", "u:k")
    assert (wrong.code, wrong.out) == (1, "")
    assert "The supplied authentication is invalid" in wrong.err


def test_wsks_own_settings_are_enough(
    edgectl: Edgectl,
    hello: Path,
    fleet: LocalFleet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = fleet.status().nodes[0]
    file = tmp_path / "wskprops"
    file.write_text(f"APIHOST={node.url}\nAUTH={node.key}\nNAMESPACE=guest\n")
    monkeypatch.setenv("WSK_CONFIG_FILE", str(file))
    assert edgectl("action", "put", "hello", hello).code == 0
    assert edgectl("action", "invoke", "hello", "-r").json == {"hello": "you"}
    shown = edgectl("target", "--json").json
    assert (shown["origin"], len(shown["targets"])) == (str(file), 1)
