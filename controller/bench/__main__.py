"""`python -m controller.bench [NAME...]`: the figures of a node, as `make bench` runs.

A table on stdout, progress on stderr, all of it in `bench-results/<time>.json`.
Exit code 0 when everything was measured, whether or not it met its aim.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.bench import machine
from controller.bench.core import BY_NAME_ONLY, MEASUREMENTS, Missing, measure
from controller.bench.row import Row


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - MEASUREMENTS.keys())
    if unknown:
        parser.error(f"no such measurement: {', '.join(unknown)}")
    begun = datetime.now(UTC)
    surroundings = machine.describe()
    rows, missing = measure(options.names or _all(), say=_say)
    document = {
        "time": begun.isoformat(timespec="seconds"),
        "environment": surroundings,
        "rows": [row.document() for row in rows],
        "missing": [{"name": each.name, "reason": each.reason} for each in missing],
    }
    path = _keep(document, options.out, begun)
    if options.json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        sys.stdout.write(table(rows, missing) + "\n")
    _say(f"kept in {path}")
    return 1 if missing else 0


def _all() -> list[str]:
    return [name for name in MEASUREMENTS if name not in BY_NAME_ONLY]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m controller.bench", description="Measure a node on this machine."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS)
    )
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    parser.add_argument("--json", action="store_true", help="the document on stdout")
    return parser


def table(rows: Sequence[Row], missing: Sequence[Missing]) -> str:
    lines = [("", "what", "value", "aim")]
    for row in rows:
        value = f"{row.value:.3g} {row.unit}"
        lines.append(("ok" if row.met else "--", row.what, value, _aim(row)))
    lines += [("??", each.name, "not measured", each.reason) for each in missing]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (map(str.ljust, line, widths) for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def _aim(row: Row) -> str:
    return f"{row.sign} {row.aim:g}"


def _keep(document: dict[str, Any], folder: Path, begun: datetime) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{begun:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
