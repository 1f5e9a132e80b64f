"""A run as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_COLUMNS = ("request", "requests", "failures", "per second", "p50 ms", "p99 ms")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 56rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { text-align: right; padding: .3rem .8rem; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
.failed { color: #b00020; font-weight: bold; }
dt { font-weight: bold; } dd { margin: 0 0 .5rem; }
"""


def page(run: Mapping[str, Any]) -> str:
    """The HTML text of what `run.json` holds."""
    scenarios = "".join(map(_scenario, run["scenarios"]))
    title = f"Load tests of {escape(run['target'])}"
    return (
        "<!doctype html>\n<html lang='en'>\n<meta charset='utf-8'>\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n<h1>{title}</h1>\n"
        f"<p>{escape(run['time'])}, {run['seconds']} s for each scenario. "
        "Closed loop: each client asks again when it has been answered.</p>\n"
        f"{scenarios}{_environment(run['environment'])}</html>\n"
    )


def _scenario(scenario: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    rows = "".join(map(_row, scenario["lines"]))
    name = escape(scenario["name"])
    errors = "".join(
        f"<li class='failed'>{count:,} x {escape(text)}</li>\n"
        for text, count in scenario["errors"].items()
    )
    table = f"<table>\n<tr>{head}</tr>\n{rows}</table>\n"
    return f"<h2>{name}</h2>\n{table}{f'<ul>{errors}</ul>' if errors else ''}\n"


def _row(line: Mapping[str, Any]) -> str:
    mark = " class='failed'" if line["failures"] else ""
    cells = [
        f"<td>{escape(line['name'])}</td>",
        f"<td>{line['requests']:,}</td>",
        f"<td{mark}>{line['failures']:,}</td>",
        *(f"<td>{line[key]:,.1f}</td>" for key in ("rate_per_s", "p50_ms", "p99_ms")),
    ]
    return f"<tr>{''.join(cells)}</tr>\n"


def _environment(facts: Mapping[str, Any]) -> str:
    items = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(_text(value))}</dd>\n"
        for key, value in facts.items()
    )
    return f"<h2>The machine that asked</h2>\n<dl>\n{items}</dl>\n"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items() if each)
    return str(value)
