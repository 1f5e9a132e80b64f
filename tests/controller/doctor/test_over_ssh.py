"""What is seen over SSH of a node that does not answer; `tests/hosts` has a real one."""

from __future__ import annotations

import pytest

from controller.doctor.over_ssh import judge

NOW = 1_800_000_000
WELL = {
    "epoch": str(NOW),
    "installed": "releases/1",
    "ActiveState": "active",
    "Result": "success",
    "socket": "active",
    "port": "443 systemd edge-agent",
    "free_mb": "5000 /var/lib/edgewhisk",
    "python": "3.11.2",
    "word": "",
    "agent": '{"level": "full", "enough": true, "findings": []}',
}


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ({}, ["unreachable"]),
        ({"installed": "no"}, ["not-installed"]),
        ({"ActiveState": "failed", "Result": "exit-code"}, ["service"]),
        ({"ActiveState": "failed", "Result": "oom-kill"}, ["oom-kill", "service"]),
        ({"ActiveState": "activating", "Result": "watchdog"}, ["watchdog", "service"]),
        ({"socket": "inactive"}, ["socket"]),
        ({"port": "443 nginx"}, ["unreachable", "port"]),
        ({"port": "443 nobody"}, ["unreachable"]),
        ({"free_mb": "12 /var"}, ["unreachable", "disk"]),
        ({"python": "none"}, ["unreachable", "python"]),
        ({"epoch": "1000"}, ["unreachable", "clock"]),
        (
            {"agent": '{"level": "rlimits", "enough": false}'},
            ["unreachable", "isolation"],
        ),
        (
            {"agent": '{"findings": [{"id": "disk", "text": "t", "mend": "m"}]}'},
            ["unreachable", "disk"],
        ),
        ({"agent": "Killed"}, ["unreachable"]),
    ],
)
def test_what_was_seen_is_understood(seen: dict[str, str], found: list[str]) -> None:
    text = "".join(f"{name} {value}\n" for name, value in (WELL | seen).items())

    assert [problem.id for problem in judge(text, now_s=NOW + 2)] == found


def test_the_last_words_of_a_service_are_told() -> None:
    seen = WELL | {"ActiveState": "failed", "Result": "exit-code", "word": "error: x"}
    text = "".join(f"{name} {value}\n" for name, value in seen.items())

    (problem,) = judge(text, now_s=NOW)

    assert problem.text == "its service is failed (exit-code), and said: error: x"
