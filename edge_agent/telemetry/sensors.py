"""What a node feels of itself: heat, throttling, load, memory, disk.

Only files of the kernel are read, so it works as any user and starts no process. What a
machine does not have is null.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

MILLI = 1000
KIBI = 1024
#: The CPU's own among the thermal zones, on a Pi and on a PC.
CPU_ZONES = ("cpu-thermal", "cpu_thermal", "soc_thermal", "x86_pkg_temp")
#: Bits of the Pi's firmware; those 16 higher say "since it was started".
THROTTLED = {
    "under_voltage": 0,
    "frequency_capped": 1,
    "throttled": 2,
    "soft_temperature_limit": 3,
}
SINCE_START = 16
_FIRMWARE = "devices/platform/soc/soc:firmware/get_throttled"


def cpu_s(proc: Path = Path("/proc")) -> float | None:
    """Seconds that all cores together have worked since the machine was started."""
    text = _text(proc / "stat")
    if text is None:
        return None
    user, nice, system, _idle, _waiting, irq, soft_irq = map(int, text.split()[1:8])
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


class Sensors:
    """`folder` is the one whose disk counts; `sys` and `proc` are the kernel's."""

    def __init__(
        self, folder: Path, *, sys: Path = Path("/sys"), proc: Path = Path("/proc")
    ) -> None:
        self._folder = folder
        self._sys = sys
        self._proc = proc

    def read(self) -> dict[str, Any]:
        """JSON-ready. A few files, none of them on a disk."""
        return {
            "cpu_temperature_c": self._temperature(),
            "throttling": self.throttling(),
            "load": [round(one, 2) for one in os.getloadavg()],
            "cpus": os.cpu_count(),
            "memory": self._memory(),
            "disk": self._disk(),
            "uptime_s": self._uptime(),
        }

    def _temperature(self) -> float | None:
        zones = sorted((self._sys / "class/thermal").glob("thermal_zone*"))
        found = {_text(zone / "type"): _number(zone / "temp") for zone in zones}
        of_cpu = [found.get(name) for name in CPU_ZONES]
        known = [one for one in (*of_cpu, *found.values()) if one is not None]
        return round(known[0] / MILLI, 1) if known else None

    def throttling(self) -> dict[str, Any] | None:
        text = _text(self._sys / _FIRMWARE)
        if text is None:
            return None
        flags = int(text, 16)
        now = {name: bool(flags >> bit & 1) for name, bit in THROTTLED.items()}
        later = {
            name: bool(flags >> bit + SINCE_START & 1)
            for name, bit in THROTTLED.items()
        }
        return {"now": now, "since_start": later}

    def _memory(self) -> dict[str, int] | None:
        text = _text(self._proc / "meminfo")
        if text is None:
            return None
        rows = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        names = {
            "total_bytes": "MemTotal",
            "available_bytes": "MemAvailable",
            "swap_total_bytes": "SwapTotal",
            "swap_free_bytes": "SwapFree",
        }
        return {
            ours: int(rows[name].split()[0]) * KIBI
            for ours, name in names.items()
            if name in rows
        }

    def _disk(self) -> dict[str, int]:
        disk = os.statvfs(self._folder)
        return {
            "total_bytes": disk.f_blocks * disk.f_frsize,
            "free_bytes": disk.f_bavail * disk.f_frsize,
        }

    def _uptime(self) -> float | None:
        text = _text(self._proc / "uptime")
        return None if text is None else float(text.split()[0])


def _text(file: Path) -> str | None:
    with suppress(OSError):
        return file.read_text().strip()
    return None


def _number(file: Path) -> float | None:
    text = _text(file)
    with suppress(ValueError):
        return None if text is None else float(text)
    return None
