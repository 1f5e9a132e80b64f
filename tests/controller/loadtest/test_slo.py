from __future__ import annotations

import pytest

from controller.loadtest.samples import Sample
from controller.loadtest.slo import BadLevel, parse_level
from controller.loadtest.summary import Summary, summarize


def calls(*latencies: float, failed: int = 0) -> list[Sample]:
    return [
        Sample(
            "x", at / 10, 0, ms, ms, 200, 1, 0, None, 1, "no" if at < failed else None
        )
        for at, ms in enumerate(latencies)
    ]


def summary(*latencies: float, failed: int = 0) -> Summary:
    return summarize("x", [calls(*latencies, failed=failed)], open_loop=False)


def test_a_level_that_is_kept_is_not_broken() -> None:
    assert parse_level("p99<100ms,errors<0.1%").broken_by(summary(1, 2, 3)) is None


@pytest.mark.parametrize(
    ("level", "latencies", "failed", "words"),
    [
        ("p50<2ms", (1, 5, 9), 0, "p50 5.0 ms"),
        ("max < 0.005s", (1, 9), 0, "max 9.0 ms"),
        ("p99.9<=8ms", (9, 9), 0, "p99.9 9.0 ms"),
        ("errors<10%", (1, 1, 1, 1), 1, "errors 25.00%"),
        ("p50<1ms,errors<1%", (4, 4), 1, "p50 4.0 ms, errors 50.00%"),
    ],
)
def test_what_is_broken_is_said(
    level: str, latencies: tuple[float, ...], failed: int, words: str
) -> None:
    assert parse_level(level).broken_by(summary(*latencies, failed=failed)) == words


@pytest.mark.parametrize(
    "text",
    ["", "p99", "p98<1ms", "p99<1", "p99<1m", "errors<1", "p99<0ms", "p50<1.2.3ms"],
)
def test_what_is_no_level_is_refused_with_its_part(text: str) -> None:
    with pytest.raises(BadLevel, match="is not of the form") as caught:
        parse_level(f"errors<1%,{text}")
    assert f"'{text}'" in str(caught.value)
