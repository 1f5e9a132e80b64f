"""Pictures: the Gantt chart of a run, curves, and the plan of a sweep."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from controller.mapreduce.figure import Figure
from controller.mapreduce.gantt import lanes, merged, picture
from controller.mapreduce.options import OptionError
from controller.mapreduce.plot import Axis, Curve, plot
from controller.mapreduce.progress import NodeReport, Report
from controller.mapreduce.sweep import (
    Case,
    Point,
    cases,
    draw,
    numbers,
    over_nodes,
    values,
)


def test_a_figure_is_well_formed_whatever_the_words() -> None:
    figure = Figure(100, 50)
    figure.words(1, 2, "<a> & b")
    figure.box(1, 2, 3, 4, "red")
    figure.line([(0, 0), (1, 1)], "blue")
    root = ET.fromstring(figure.svg())  # noqa: S314 our own
    assert [child.tag.partition("}")[2] for child in root] == [
        "rect", "text", "rect", "polyline",
    ]  # fmt: skip
    assert root[1].text == "<a> & b"


def test_a_figure_is_saved_as_png_too_when_asked(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = Figure(60, 40)
    figure.box(1, 2, 30, 20, "#0072b2")
    figure.words(5, 30, "hello")
    _, png = figure.save(tmp_path / "drawn", png=True)
    assert png.read_bytes().startswith(b"\x89PNG")


def test_spans_go_to_as_few_rows_as_there_are_slots() -> None:
    spans = [(0.0, 1.0), (0.1, 0.9), (0.9, 2.0), (1.0, 2.0)]
    assert lanes(spans, 2) == [[spans[0], spans[3]], [spans[1], spans[2]]]
    assert merged([(0, 1), (1, 1.5), (5, 6)], 2) == [(0, 1.5), (5, 6)]


def test_a_run_is_drawn_with_a_bar_for_each_chunk_and_the_load_of_the_cores() -> None:
    nodes = tuple(
        NodeReport(name, 2, 2.0, 1.0, 0, slots=2, items=2, joined_at=0.0, cpu=cpu)
        for name, cpu in (("a", ((1.0, 0.5), (2.0, 0.9))), ("b", ()))
    )
    report = Report("r", None, 2.1, 4, 0, 0, nodes, map_s=2.0)
    spans = {"a": [(0.0, 1.0), (1.0, 2.0)], "b": [(0.0, 1.0), (0.5, 2.0)]}
    svg = picture(report, spans).svg()
    assert svg.count("<rect") == 1 + 4
    assert svg.count(">CPU<") == 1
    assert "efficiency 50%" in svg


def test_curves_stay_within_their_axes() -> None:
    curves = [Curve("a", [(1, 0.5), (1000, 80.0)]), Curve("b", [(10, 3.0)], thin=True)]
    figure = plot("t", curves, x=Axis("x", log=True), y=Axis("y", zero=True))
    root = ET.fromstring(figure.svg())  # noqa: S314
    lines = root.findall("{*}polyline")
    points = [
        pair.split(",") for line in lines for pair in line.attrib["points"].split()
    ]
    assert all(0 <= float(x) <= 900 and 0 <= float(y) <= 560 for x, y in points)


def test_the_dots_of_a_list_go_on_as_it_began() -> None:
    assert numbers("2,4,…,50", what="x") == [2, 4, 8, 16, 32, 50]
    assert numbers("1,10,...,1000", what="x") == [1, 10, 100, 1000]
    assert numbers("0.5,1", what="x", kind=float) == [0.5, 1.0]
    for wrong in ("", "a", "1,...", "...,5", "-1", "4,4,...,9,x"):
        with pytest.raises(OptionError):
            numbers(wrong, what="x")


def test_a_range_is_a_run_for_each_power_of_ten() -> None:
    assert values("1e5..1e8") == ["100000", "1e+06", "1e+07", "1e+08"]
    assert values("a..b") == ["a..b"]
    assert values("7") == ["7"]


def test_a_sweep_is_every_one_with_every_other(tmp_path: Path) -> None:
    planned = list(
        cases(settings={"p": "1..10"}, chunks=[2, 4], nodes=[1, 2], cpus=[None])
    )
    assert len(planned) == 8
    assert planned[0] == Case({"p": "1"}, 2, 1)
    assert planned[-1].label == "p=10, 2 nodes"
    points = [Point(case, 8 / case.nodes, 0.9) for case in planned]
    drawn = draw("pi.py", points, tmp_path)
    assert [file.name for file in drawn] == ["chunks.svg", "speed-up.svg"]
    assert "measured" in over_nodes("pi.py", points).svg()
