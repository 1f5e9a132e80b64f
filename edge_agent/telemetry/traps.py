"""What bites small machines, seen from the node: each trap with the way out of it.

Only files of the kernel and of the system are read, so any user sees them and no
process is started. What wears or warns is not `serious`; what breaks things is.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_agent.telemetry.sensors import Sensors

FOUR_KB = 4096
MEGABYTE = 1 << 20
#: Below this a node soon refuses; below the share it is time to look.
DISK_LEAST_BYTES = 200 * MEGABYTE
DISK_SHARE = 0.05
_PI = "Raspberry Pi"
_LIMIT = re.compile(r"^\s*(SystemMaxUse|Storage)\s*=\s*(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Trap:
    """`id` is for scripts; `mend` is the line that would mend it."""

    id: str
    text: str
    mend: str
    serious: bool = True


class Traps:
    """Looks at the machine. `folder` is the one whose disk counts; `root` is `/`.

    `pins` tells whether GPIO is asked for: the setting `gpio.pin_factory`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pins: str = "none",
        root: Path = Path("/"),
        page_bytes: int | None = None,
        installed: Callable[[str], bool] = lambda name: find_spec(name) is not None,
    ) -> None:
        self._folder = folder
        self._pins = pins
        self._root = root
        self._page_bytes = page_bytes or os.sysconf("SC_PAGE_SIZE")
        self._installed = installed
        self._sensors = Sensors(folder, sys=root / "sys", proc=root / "proc")

    def read(self) -> list[dict[str, Any]]:
        """JSON-ready, what is serious first."""
        found = [*self._machine(), *self._board(), *self._card(), *self._disk()]
        found += [*self._power(), *self._clock()]
        return [asdict(trap) for trap in sorted(found, key=lambda one: not one.serious)]

    @property
    def is_pi(self) -> bool:
        return _PI in self._text("proc/device-tree/model")

    def _machine(self) -> Iterator[Trap]:
        if self._page_bytes != FOUR_KB:
            kilobytes = self._page_bytes // 1024
            yield Trap(
                "page-size",
                f"the kernel has pages of {kilobytes} KB: programs built for 4 KB crash"
                " (some wheels, jemalloc)",
                "kernel=kernel8.img in /boot/firmware/config.txt, then reboot"
                if self.is_pi
                else "a kernel with pages of 4 KB",
                serious=False,
            )
        if platform.machine() in {"armv6l", "armv7l", "i686"}:
            yield Trap("32-bit", "the system is a 32-bit one", "flash the 64-bit image")

    def _board(self) -> Iterator[Trap]:
        """GPIO that is asked for and cannot be had."""
        if self._pins != "lgpio" or not self.is_pi:
            return
        if not (self._installed("gpiozero") and self._installed("lgpio")):
            yield Trap(
                "gpio-packages",
                "the packages for the pins are missing (gpiozero, lgpio)",
                "edge_agent_gpio: true in the inventory and edgectl deploy, or"
                " pip install 'edgewhisk[gpio]'",
                serious=False,
            )
        chips = sorted((self._root / "dev").glob("gpiochip*"))
        if chips and not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
            yield Trap(
                "gpio-access",
                "the agent's user may not use the pins (/dev/gpiochip*)",
                "put it into the group gpio: edge_agent_gpio: true and edgectl deploy",
                serious=False,
            )

    def _card(self) -> Iterator[Trap]:
        if not self._on_card():
            return
        kept = (self._root / "var/log/journal").is_dir()
        limits = dict(self._journal_limits())
        if (
            kept
            and not limits.keys() & {"SystemMaxUse"}
            and "volatile" not in (limits.get("Storage", ""))
        ):
            yield Trap(
                "journal",
                "the journal is written to the card without a bound of yours: it wears",
                "SystemMaxUse=64M (or Storage=volatile) in"
                " /etc/systemd/journald.conf.d/edgewhisk.conf",
                serious=False,
            )
        worn = self._worn()
        if worn:
            yield Trap("worn-card", worn, "copy the card to a new one soon")

    def _disk(self) -> Iterator[Trap]:
        disk = os.statvfs(self._place())
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        if free < DISK_LEAST_BYTES or free < DISK_SHARE * total:
            yield Trap(
                "disk",
                f"{free // MEGABYTE} MB of {total // MEGABYTE} MB of disk are free",
                "sudo apt-get clean; sudo journalctl --vacuum-size=50M",
                serious=free < DISK_LEAST_BYTES,
            )
        if not disk.f_favail and disk.f_files:
            yield Trap("inodes", "the disk has room for no more files", "remove some")

    def _power(self) -> Iterator[Trap]:
        told = self._sensors.throttling() or {"now": {}, "since_start": {}}
        now = [_words(name) for name, on in told["now"].items() if on]
        ever = [_words(name) for name, on in told["since_start"].items() if on]
        mend = "a power supply and cable that give 5.1 V at 3 A (5 A for a Pi 5)"
        if "under voltage" not in [*now, *ever]:
            mend = "a heat sink or a fan"
        if now:
            yield Trap("throttled", f"the board is held back: {', '.join(now)}", mend)
        elif ever:
            text = f"the board was held back since it started: {', '.join(ever)}"
            yield Trap("throttled", text, mend, serious=False)

    def _clock(self) -> Iterator[Trap]:
        """Whether it is right now, the caller sees; here only what keeps it."""
        if self.is_pi and not any((self._root / "sys/class/rtc").glob("rtc*")):
            yield Trap(
                "no-rtc",
                "there is no clock that runs on without power: without a network it"
                " starts in the past",
                "a battery clock (dtoverlay=i2c-rtc,...), or a time server in your"
                " network: sudo timedatectl set-ntp true",
                serious=False,
            )

    def _place(self) -> Path:
        """The folder, or what of it there is before the agent's first start."""
        parts = (self._folder, *self._folder.parents)
        return next((part for part in parts if part.exists()), self._root)

    def _on_card(self) -> bool:
        """Whether the data is on an SD card: its device is called mmcblk..."""
        try:
            device = self._place().stat().st_dev
        except OSError:
            return False
        name = f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
        return "mmcblk" in str((self._root / name).resolve())

    def _worn(self) -> str:
        """What an eMMC tells of its own life, from 1 (new) to 11 (beyond it)."""
        for file in sorted((self._root / "sys/block").glob("mmcblk*/device/life_time")):
            used = [int(part, 16) for part in self._text(file).split()]
            if max(used, default=0) >= 9:  # noqa: PLR2004 beyond 80 %
                return "the card says that over 80 % of its life are used"
        return ""

    def _journal_limits(self) -> Iterator[tuple[str, str]]:
        place = self._root / "etc/systemd"
        files = [place / "journald.conf", *place.glob("journald.conf.d/*.conf")]
        for file in files:
            yield from _LIMIT.findall(self._text(file))

    def _text(self, file: str | Path) -> str:
        try:
            return (self._root / file).read_text(errors="replace").strip("\0\n ")
        except OSError:
            return ""


def _words(name: str) -> str:
    return name.replace("_", " ")
