"""Write a run to its folder: one HTML page, and the same as files for programs.

    report.html     everything, in one file that needs nothing else
    run.json        the document (`controller.loadtest.document`)
    lines.csv       one row for each line of each point
    samples.csv     every call
    plots/*.svg     the pictures; *.png as well where matplotlib is installed

All of it is made beside the folder first, so that a broken run leaves no half of one.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from controller.loadtest.document import Measured
from controller.loadtest.page import page
from controller.loadtest.plots import plots
from controller.loadtest.samples import Sample

_FIGURES = (
    *("requests", "failures", "cold", "rate_per_s", "p50_ms", "p90_ms"),
    *("p99_ms", "p99_9_ms", "max_ms", "tail_to_median", "late_p99_ms"),
)


def write(
    run: Mapping[str, Any], measured: Sequence[Measured], out: Path
) -> dict[str, Any]:
    """Write all files; what `edgectl bench run --json` answers."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bench-") as place:
        made = Path(place)
        made.chmod(0o755)
        (made / "plots").mkdir()
        drawn = {name: figure.svg() for name, figure in plots(run)}
        for name, figure in plots(run):
            figure.save(made / "plots" / name)
        (made / "run.json").write_text(json.dumps(run, indent=1) + "\n")
        (made / "report.html").write_text(page(run, drawn))
        _write_lines(made / "lines.csv", run)
        _write_samples(made / "samples.csv", measured)
        out.mkdir(exist_ok=True)
        for each in made.iterdir():
            _replace(each, out / each.name)
    names = ("name", "requests", "failures", "rate_per_s", "p50_ms", "p99_ms")
    return {
        "report": str(out / "report.html"),
        "data": str(out / "run.json"),
        "scenarios": [{n: each[n] for n in names} for each in run["scenarios"]],
    }


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    source.rename(target)


def _write_lines(path: Path, run: Mapping[str, Any]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("scenario", "point", "line", "loop", *_FIGURES))
        for scenario in run["scenarios"]:
            for point in scenario["points"]:
                for line in point["lines"]:
                    head = (scenario["name"], point["label"], line["name"])
                    figures = (line[name] for name in _FIGURES)
                    table.writerow((*head, line["loop"], *figures))


def _write_samples(path: Path, measured: Sequence[Measured]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        names = [field.name for field in fields(Sample)]
        table.writerow(("point", "repetition", *names))
        for each in measured:
            for number, stay in enumerate(each.stays, 1):
                for sample in stay.samples:
                    table.writerow((each.point.label, number, *astuple(sample)))
