"""The bridge's mapping file."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.bridge_map import MapError, check_map, parse_map

GOOD = """
broker: 10.0.0.5
username: bridge
password: secret
entries:
  - topic: sensors/+/temp
    action: weather
  - topic: doors/#
    action: alarms/door
    namespace: home
    qos: 0
    payload: text
"""


def test_an_entry_has_an_action_and_a_subscription() -> None:
    bridge_map = parse_map(GOOD)

    one, two = bridge_map.entries
    assert (one.action, two.action) == ("weather", "/home/alarms/door")
    shared = {"username": "bridge", "password": "secret"}
    shared["broker"] = "10.0.0.5"
    assert one.parameters == {"topic": "sensors/+/temp", **shared}
    assert two.parameters == {
        "topic": "doors/#",
        "qos": 0,
        "payload": "text",
        **shared,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected keys such as broker and entries"),
        ("- a", "expected keys such as broker and entries"),
        ("a: [", "not YAML: "),
        ("broker: x", "entries: expected a list"),
        ("entries: []", "entries: expected a list"),
        ("entries: [1]", "entry 1: expected topic and action, got 1"),
        ("entries: [{topic: a}]", "entry 1: action: expected a name, got None"),
        ("entries: [{action: a}]", "entry 1: topic: is missing"),
        ("entries: [{action: a, topic: 'a/#/b'}]", "entry 1: topic filter 'a/#/b'"),
        ("entries: [{action: a/b/c/d, topic: a}]", "entry 1: The name of the entity"),
        ("entries: [{action: a, topic: a, qos: 3}]", "entry 1: qos: expected 0, 1"),
        ("entries: [{action: a, topic: a, x: 3}]", "entry 1: x: is not known here"),
        (
            "entries: [{action: a, topic: a, route: x}]",
            "entry 1: route: expected least",
        ),
        (
            "entries: [{action: a, topic: a, route: topic}]",
            "entry 1: route: topic: the",
        ),
        ("entries: [{action: a, topic: a, route: {key: '('}}]", "entry 1: route.key: "),
        (
            "entries: [{action: a, topic: a, down: x}]",
            "entry 1: down: expected another",
        ),
        ("entries: [{job: 1, topic: a}]", "entry 1: job: expected a job file"),
        ("entries: [{action: a, topic: a, dedup: 1}]", "entry 1: dedup: is not known"),
        (
            "entries: [{action: a, topic: a}, {action: a, topic: a}]",
            "entry 2: is there",
        ),
        ("share: a/b\nentries: [{action: a, topic: a}]", "share: expected a word"),
        (
            "share: a\nentries: [{action: a, topic: $share/b/c}]",
            "entry 1: topic: has a share already",
        ),
        ("tls: {x: 1}\nentries: [{action: a, topic: a}]", "tls.x: is not known here"),
        ("x: 1\nentries: [{action: a, topic: a}]", "x: is not known here"),
        ("broker: a b\nentries: [{action: a, topic: a}]", "broker: expected host:port"),
        (
            "entries: [{action: /n/a, namespace: n, topic: a}]",
            "entry 1: namespace: /n/a names one already",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(MapError) as raised:
        parse_map(text, file="m.yaml")

    assert problem in str(raised.value)
    assert str(raised.value).startswith("m.yaml: ")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("x: 1\nentries:\n  - topic: a\n  - action: a\n")

    problems = check_map(file)

    assert [one.split(":")[0] for one in problems] == ["x", "entry 1", "entry 2"]


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = check_map(tmp_path / "none.yaml")

    assert problem.startswith("cannot be read: ")


def test_a_job_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("entries: [{job: none.py, topic: a}]")

    assert check_map(file) == [f"job: there is no file {tmp_path / 'none.py'}"]


def test_entries_have_the_same_id_in_another_version_of_the_file() -> None:
    before = parse_map("entries: [{topic: a, action: a}, {topic: b, action: b}]")
    after = parse_map("entries: [{topic: b, action: b}, {topic: a, action: c}]")

    assert before.entries[1].id == after.entries[0].id
    assert before.entries[0].id != after.entries[1].id


def test_a_share_stands_in_front_of_every_topic() -> None:
    (entry,) = parse_map("share: s\nentries: [{topic: 'a/{b}', action: a}]").entries

    assert entry.parameters["topic"] == "$share/s/a/{b}"
