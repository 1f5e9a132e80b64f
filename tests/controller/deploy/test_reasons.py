from __future__ import annotations

import pytest

from controller.deploy.reasons import LONGEST, reason_failed, reason_unreachable

SSH = "Task failed: Failed to connect to the host via ssh: "


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        (f"{SSH}ssh: connect: Connection refused", "Connection refused", "sshd"),
        (f"{SSH}ssh: connect: No route to host", "No route to host", "is the machine"),
        (
            f"{SSH}Warning: Permanently added 'h'.\npi@h: Permission denied (publickey).",
            "Permission denied",
            "ssh-copy-id",
        ),
        (f"{SSH}Host key verification failed.", "Host key", "ssh-keygen -R"),
        ("", "no answer", ""),
    ],
)
def test_an_unreachable_host_has_one_line_with_a_remedy(
    text: str, said: str, remedy: str
) -> None:
    reason = reason_unreachable(text)

    assert reason.startswith("unreachable: ")
    assert said in reason
    assert remedy in reason
    assert "\n" not in reason
    assert "Failed to connect to the host via ssh" not in reason


@pytest.mark.parametrize(
    ("text", "stderr", "reason"),
    [
        ("two\n lines", "", "T: two lines"),
        ("", "", "T: failed without a word"),
        ("Task failed: Module failed: it broke", "", "T: it broke"),
        (
            "non-zero return code",
            "WARNING: x\nERROR: the real one\nHint: look",
            "T: ERROR: the real one",
        ),
        ("failed to validate", "pool.memory_mb: wrong", "T: pool.memory_mb: wrong"),
        (
            "Traceback (most recent call last):\n  raise X\nValueError: no",
            "",
            "T: ValueError: no",
        ),
    ],
)
def test_a_failed_task_says_its_name_and_the_telling_line(
    text: str, stderr: str, reason: str
) -> None:
    assert reason_failed("role : T", text, stderr) == reason


@pytest.mark.parametrize(
    ("text", "stderr", "remedy"),
    [
        (
            "The module interpreter '/usr/bin/python3' was not found.",
            "",
            "sudo apt-get install python3",
        ),
        (
            (
                "Module failed: ansible-core requires a minimum of Python version 3.9."
                " Current version: 3.7.3"
            ),
            "",
            "upgrade to Debian 12 or newer",
        ),
        (
            "Module result deserialization failed: No start of json char found",
            "/bin/sh: 1: sudo: not found",
            "install sudo there",
        ),
        (
            "Module result deserialization failed: No start of json char found",
            "guest is not in the sudoers file.",
            "give this user sudo",
        ),
    ],
)
def test_what_ansible_stumbles_over_itself_has_a_remedy(
    text: str, stderr: str, remedy: str
) -> None:
    reason = reason_failed("role : T", text, stderr)

    assert remedy in reason
    assert "deserialization" not in reason


def test_a_long_text_is_cut_and_keeps_its_remedy() -> None:
    reason = reason_failed("T", "x" * 1000 + " No space left on device")

    assert len(reason) < LONGEST + 50
    assert reason.endswith("(free some disk there)")
