"""What a node feels of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.telemetry.sensors import Sensors, cpu_s

if TYPE_CHECKING:
    from pathlib import Path

MEMINFO = "MemTotal: 1000 kB\nMemAvailable:  400 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def pi(home: Path, *, throttled: str = "50005") -> Sensors:
    thermal = home / "sys/class/thermal"
    for number, (kind, temp) in enumerate([("gpu", "1"), ("cpu-thermal", "48312")]):
        write(thermal / f"thermal_zone{number}/type", f"{kind}\n")
        write(thermal / f"thermal_zone{number}/temp", f"{temp}\n")
    write(
        home / "sys/devices/platform/soc/soc:firmware/get_throttled", f"{throttled}\n"
    )
    write(home / "proc/meminfo", MEMINFO)
    write(home / "proc/uptime", "12.5 40.0\n")
    return Sensors(home, sys=home / "sys", proc=home / "proc")


def test_a_pi_tells_its_temperature_and_what_its_firmware_holds_back(
    tmp_path: Path,
) -> None:
    found = pi(tmp_path).read()

    assert found["cpu_temperature_c"] == 48.3
    assert found["throttling"]["now"] == {
        "under_voltage": True,
        "frequency_capped": False,
        "throttled": True,
        "soft_temperature_limit": False,
    }
    assert found["throttling"]["since_start"] == found["throttling"]["now"]
    assert found["memory"] == {
        "total_bytes": 1_024_000,
        "available_bytes": 409_600,
        "swap_total_bytes": 0,
        "swap_free_bytes": 0,
    }
    assert found["uptime_s"] == 12.5
    assert 0 < found["disk"]["free_bytes"] <= found["disk"]["total_bytes"]
    assert len(found["load"]) == 3


def test_what_a_machine_does_not_have_is_null(tmp_path: Path) -> None:
    found = Sensors(tmp_path, sys=tmp_path, proc=tmp_path).read()

    assert found["cpu_temperature_c"] is None
    assert found["throttling"] is None
    assert found["memory"] is None
    assert found["uptime_s"] is None


def test_a_zone_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    sensors = pi(tmp_path)
    write(tmp_path / "sys/class/thermal/thermal_zone1/temp", "hot\n")

    assert sensors.read()["cpu_temperature_c"] == 0.0


def test_this_machine_can_be_read(tmp_path: Path) -> None:
    assert Sensors(tmp_path).read()["memory"]["total_bytes"] > 0


def test_the_work_of_all_cores_is_added_up(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  100 20 30 9999 9999 4 6 1 0 0\ncpu0 1 1 1\n")

    assert cpu_s(tmp_path) == 1.6
    assert cpu_s(tmp_path / "none") is None
