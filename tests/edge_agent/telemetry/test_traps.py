"""Traps of small machines, read from a tree of files as the kernel has them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edge_agent.telemetry.traps import DISK_LEAST_BYTES, Traps


def write(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A Pi as it should be."""
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    write(tmp_path / "sys/class/rtc/rtc0/name")
    write(tmp_path / "proc/uptime", "1 1")
    write(throttling(tmp_path), "0")
    return tmp_path


def throttling(root: Path) -> Path:
    return root / "sys/devices/platform/soc/soc:firmware/get_throttled"


def on_card(root: Path) -> None:
    """Its folder is on an SD card."""
    device = root.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    (root / "sys/block/mmcblk0/mmcblk0p2").mkdir(parents=True)
    (root / "sys/dev/block").mkdir(parents=True)
    (root / "sys/dev/block" / name).symlink_to(root / "sys/block/mmcblk0/mmcblk0p2")


def found(root: Path, **said: Any) -> list[str]:
    """The ids, serious ones in capitals; what this machine's disk has is left out."""
    options: dict[str, Any] = {"pins": "lgpio", "page_bytes": 4096}
    options |= {"installed": lambda _: True}
    traps = Traps(root, root=root, **(options | said)).read()
    assert all(trap["mend"] for trap in traps)
    return [
        trap["id"].upper() if trap["serious"] else trap["id"]
        for trap in traps
        if trap["id"] not in {"disk", "inodes"}
    ]


def test_a_board_as_it_should_be_has_none(board: Path) -> None:
    assert found(board) == []


def test_another_machine_has_none_of_a_boards_traps(tmp_path: Path) -> None:
    assert found(tmp_path, installed=lambda _: False) == []


def test_pages_of_16_kb_are_named(board: Path) -> None:
    assert found(board, page_bytes=16384) == ["page-size"]


def test_pins_without_their_packages_are_named(board: Path) -> None:
    assert found(board, installed=lambda name: name == "gpiozero") == ["gpio-packages"]
    assert found(board, installed=lambda _: False, pins="none") == []


def test_a_board_without_a_clock_that_runs_on_is_named(board: Path) -> None:
    (board / "sys/class/rtc/rtc0/name").unlink()
    (board / "sys/class/rtc/rtc0").rmdir()

    assert found(board) == ["no-rtc"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [("50005", ["THROTTLED"]), ("50000", ["throttled"]), ("0", [])],
)
def test_power_that_is_too_weak_is_named(
    board: Path, flags: str, told: list[str]
) -> None:
    write(throttling(board), flags)

    assert found(board) == told


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("etc/systemd/journald.conf", "[Journal]\n#SystemMaxUse=\n", ["journal"]),
        ("etc/systemd/journald.conf", "[Journal]\nSystemMaxUse=64M\n", []),
        ("etc/systemd/journald.conf.d/a.conf", "Storage=volatile\n", []),
    ],
)
def test_a_journal_that_wears_the_card_is_named(
    board: Path, file: str, text: str, told: list[str]
) -> None:
    on_card(board)
    (board / "var/log/journal").mkdir(parents=True)
    write(board / file, text)

    assert found(board) == told


def test_a_worn_card_is_named(board: Path) -> None:
    on_card(board)
    write(board / "sys/block/mmcblk0/device/life_time", "0x0a 0x02\n")

    assert found(board) == ["WORN-CARD"]


def test_a_disk_that_is_nearly_full_is_named(
    board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(board)
    free = DISK_LEAST_BYTES // 2 // real.f_frsize
    full = os.statvfs_result((*real[:4], free, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)

    (trap,) = Traps(board, root=board, page_bytes=4096).read()

    assert (trap["id"], trap["serious"]) == ("disk", True)
    assert "100 MB of" in trap["text"]
