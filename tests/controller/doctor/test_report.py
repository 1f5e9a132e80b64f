"""Every trap that a node's report shows is named, with its fix."""

from __future__ import annotations

from typing import Any

import pytest

from controller.doctor.report import problems_of

WELL: dict[str, Any] = {"kinds": ["python:3.11"], "isolation": {"level": "full"}}


def broker(**said: Any) -> dict[str, Any]:
    return {"mqtt": {"brokers": [{"broker": "b:1883", **said}]}}


@pytest.mark.parametrize(
    ("report", "found"),
    [
        ({}, []),
        ({"isolation": {"level": "namespaces"}}, ["isolation"]),
        ({"kinds": []}, ["PYTHON"]),
        ({"isolation": {"level": "rlimits"}}, ["ISOLATION"]),
        (
            {
                "isolation": {
                    "level": "namespaces",
                    "findings": [
                        "the kernel has no memory control group; to mend it: add x"
                    ],
                }
            },
            ["memory-cgroup", "isolation"],
        ),
        ({"store": {"failure": "disk full"}}, ["STORE"]),
        ({"store": {"dead_letters": {"full": True, "count": 9}}}, ["DEAD-LETTERS"]),
        ({"store": {"dead_letters": {"full": False, "count": 9}}}, ["dead-letters"]),
        (broker(error="refused"), ["BROKER"]),
        (broker(error=None, dropped_by_broker=0), []),
        (broker(dropped_by_broker=7), ["BROKER-DROPPED"]),
        (broker(subscriptions=[{"topic": "a", "refusal": "no"}]), ["BROKER-REFUSES"]),
        ({"clock": {"synced": False, "behind_s": 90}}, ["CLOCK"]),
        ({"clock": {"synced": True, "kept": False}}, ["clock-unkept"]),
        ({"traps": [{"id": "disk", "text": "1 MB", "mend": "x"}]}, ["DISK"]),
        (
            {"traps": [{"id": "no-rtc", "text": "t", "mend": "x", "serious": False}]},
            ["no-rtc"],
        ),
    ],
)
def test_what_a_report_shows_is_found(report: dict[str, Any], found: list[str]) -> None:
    """Serious ones are in capitals here."""
    problems = problems_of(WELL | report)

    assert [p.id.upper() if p.serious else p.id for p in problems] == found
    assert all(p.mend for p in problems)


def test_a_clock_that_differs_from_ours_is_told_with_its_direction() -> None:
    (behind,) = problems_of(WELL, skew_s=-3600)
    (ahead,) = problems_of(WELL, skew_s=60)

    assert behind.serious
    assert "3600 s behind" in behind.text
    assert "60 s ahead of" in ahead.text
    assert problems_of(WELL, skew_s=1) == ()


def test_what_is_serious_comes_first() -> None:
    report = WELL | {"clock": {"kept": False}, "store": {"failure": "full"}}

    assert [p.id for p in problems_of(report)] == ["store", "clock-unkept"]
