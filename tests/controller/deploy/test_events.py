from __future__ import annotations

import pytest

from controller.deploy.events import (
    Counts,
    Event,
    Failed,
    HostRecap,
    Ok,
    Stats,
    TaskBegins,
    Unreachable,
    parse_event,
    recap_of,
)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('{"event": "task", "task": "r : T"}', TaskBegins(task="r : T")),
        (
            '{"event": "ok", "host": "a", "task": "T", "changed": true}',
            Ok(host="a", task="T", changed=True),
        ),
        (
            '{"event": "recap", "hosts": {"a": {"ok": 3, "skipped": 1}}}',
            Stats(hosts={"a": Counts(ok=3)}),
        ),
    ],
)
def test_a_line_of_the_callback_is_an_event(line: str, event: Event) -> None:
    assert parse_event(line) == event


def test_the_recap_has_the_counts_and_one_reason_a_host() -> None:
    events: list[Event] = [
        Failed(host="b", task="role : Ask", text="no answer"),
        Unreachable(host="c", task="Facts", text="Connection refused"),
        Stats(
            hosts={
                "c": Counts(unreachable=1),
                "a": Counts(ok=5, changed=2),
                "b": Counts(ok=1, failures=1),
            }
        ),
    ]

    recap = recap_of(events, ["a", "b", "c"])

    assert list(recap.hosts) == ["a", "b", "c"]
    assert recap.hosts["a"] == HostRecap(ok=5, changed=2)
    assert recap.hosts["b"].reason == "Ask: no answer"
    assert "Connection refused" in (recap.hosts["c"].reason or "")
    assert not recap.well


def test_a_failure_that_was_ignored_or_rescued_is_no_reason() -> None:
    events: list[Event] = [
        Failed(host="a", task="T", text="never mind", ignored=True),
        Failed(host="b", task="T", text="rescued"),
        Stats(hosts={"a": Counts(ok=2), "b": Counts(ok=2)}),
    ]

    recap = recap_of(events, ["a", "b"])

    assert recap.well
    assert recap.hosts["b"].reason is None


def test_a_host_that_the_run_never_came_to_has_failed() -> None:
    recap = recap_of([Failed(host="a", task="T", text="broken")], ["a", "b"])

    assert recap.hosts["a"] == HostRecap(failed=1, reason="T: broken")
    assert recap.hosts["b"].failed == 1
    assert "run it again" in (recap.hosts["b"].reason or "")


def test_a_run_that_broke_off_says_why_and_what_to_do() -> None:
    recap = recap_of([], ["a"], broke_off="Attempting: no vault secrets found.")

    assert recap.hosts["a"].reason == (
        "Attempting: no vault secrets found"
        " (set ANSIBLE_VAULT_PASSWORD_FILE); run it again"
    )


def test_no_hosts_is_not_well() -> None:
    assert not recap_of([], []).well


def test_a_host_that_did_not_come_to_the_goal_was_left_as_it_was() -> None:
    events: list[Event] = [
        Ok(host="a", task="edge_agent : The node serves"),
        Failed(host="b", task="edge_agent : Switch the node", text="rolled back"),
        Stats(
            hosts={"a": Counts(ok=9), "b": Counts(ok=8, failures=1), "c": Counts(ok=5)}
        ),
    ]

    recap = recap_of(events, ["a", "b", "c"], goal="The node serves")

    assert recap.hosts["a"].well
    assert recap.hosts["c"].failed == 0
    assert recap.hosts["c"].reason == "left as it was, since b failed; run it again"
    assert not recap.well
