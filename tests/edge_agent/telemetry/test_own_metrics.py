from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.telemetry import own_metrics
from edge_agent.telemetry.exposition import write
from edge_agent.telemetry.own_metrics import OwnMetrics

STAMP = "2024-01-01T00:00:00.123456789Z"
A = 'namespace="guest",action="a"'


def line(text: str, stream: str = "stdout") -> str:
    return f"{STAMP} {stream}: {text}"


async def shown(own: OwnMetrics) -> dict[str, str]:
    text = await write(own.families(), fixed="")
    lines = [one for one in text.splitlines() if not one.startswith("#")]
    return dict(one.rsplit(" ", 1) for one in lines)


async def test_a_line_of_the_log_becomes_a_series_under_the_actions_name() -> None:
    own = OwnMetrics()
    own.read(
        A,
        [
            line("reading"),
            line("::metric temperature_celsius 21.5 gauge room=attic"),
            line("::metric temperature_celsius 22 gauge room=attic"),
            line("::metric depth 4"),
            line("::metric seen 2 counter"),
            line("::metric seen_total 3 counter"),
            line("::metric took_seconds 0.2 histogram"),
            line("::metric ignored 1", stream="stderr"),
            line("say ::metric ignored 1"),
        ],
    )

    found = await shown(own)

    assert found[f'edgewhisk_action_temperature_celsius{{{A},room="attic"}}'] == "22"
    assert found[f"edgewhisk_action_depth{{{A}}}"] == "4"
    assert found[f"edgewhisk_action_seen_total{{{A}}}"] == "5"
    assert found[f"edgewhisk_action_took_seconds_count{{{A}}}"] == "1"
    assert found[f'edgewhisk_action_took_seconds_bucket{{{A},le="0.1"}}'] == "0"
    assert not [name for name in found if "ignored" in name]
    assert found[own_metrics.REFUSED + "{}"] == "0"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "",
        "x y",
        "x nan",
        "x inf",
        "9x 1",
        "a-b 1",
        "x -1 counter",
        "x 1 summary",
        "x 1 gauge action=b",
        "x 1 gauge __name__=b",
        "x 1 gauge k=" + "v" * 101,
        "x 1 gauge a=1 b=1 c=1 d=1 e=1 f=1",
        "x" * 101 + " 1",
    ],
)
async def test_what_is_wrong_is_counted_and_leaves_nothing(text: str) -> None:
    own = OwnMetrics()
    own.read(A, [line(f"::metric {text}")])

    assert await shown(own) == {f"{own_metrics.REFUSED}{{}}": "1"}


async def test_a_name_keeps_its_kind() -> None:
    own = OwnMetrics()
    own.read(A, [line("::metric x 1 gauge"), line("::metric x 1 histogram")])

    found = await shown(own)

    assert found[f"edgewhisk_action_x{{{A}}}"] == "1"
    assert found[own_metrics.REFUSED + "{}"] == "1"


@pytest.mark.parametrize(
    "texts",
    [
        ("x 1 histogram", "x_count 1"),
        ("x_sum 1", "x 1 histogram"),
        ("x 1", "metrics_refused 1 counter"),
        ("x 1", "metrics_refused_total 1"),
    ],
)
async def test_no_two_series_have_one_name(texts: tuple[str, str]) -> None:
    own = OwnMetrics()
    own.read(A, [line(f"::metric {text}") for text in texts])

    found = await shown(own)
    text = await write(own.families(), fixed="")
    announced = [one for one in text.splitlines() if one.startswith("# TYPE")]

    assert found[own_metrics.REFUSED + "{}"] == "1"
    assert len(announced) == len(set(announced)) == 2


async def test_the_number_of_series_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(own_metrics, "SERIES_MOST", 250)
    own = OwnMetrics()
    for action in "abcd":
        labels = f'namespace="guest",action="{action}"'
        own.read(labels, [line(f"::metric x 1 gauge n={n}") for n in range(150)])

    found = await shown(own)

    assert len([name for name in found if name.startswith("edgewhisk_action_x")]) == 250
    assert found[own_metrics.REFUSED + "{}"] == "350"


def test_a_flood_of_lines_is_looked_at_only_at_its_beginning() -> None:
    own = OwnMetrics()
    own.read(A, [line("::metric x 1 counter")] * 5000)

    [family, _] = own.families()

    assert list(family.samples) == [(A, 1000.0)]


@given(st.text(max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    OwnMetrics().read(A, [line(f"::metric {text}")])
