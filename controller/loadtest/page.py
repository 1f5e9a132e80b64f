"""A run as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from controller.loadtest.prior import prior

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem;
  padding: 0 1rem; color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; font-size: .9rem;
  display: block; overflow-x: auto; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #ddd;
  white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
.failed { color: #b00020; font-weight: bold; }
.warn { background: #fff4d6; padding: .5rem 1rem; border-left: 4px solid #e69f00; }
.interval { color: #666; font-size: .8rem; }
figure { margin: 1rem 0; overflow-x: auto; }
figure svg { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: bold; } dd { margin: 0; }
"""
_COLUMNS = (
    *("point", "line", "loop", "calls", "failed", "cold", "good/s", "p50 ms"),
    *("p90 ms", "p99 ms", "p99.9 ms", "max ms", "p99/p50", "wait ms", "init ms"),
    *("run ms", "platform"),
)
_USAGE_COLUMNS = (
    *("point", "node", "agent cores", "sandboxes", "rest", "agent MB"),
    *("sandboxes MB", "degrees C", "cost"),
)
_USAGE = (
    *("agent_cores", "sandboxes_cores", "rest_cores", "agent_mb"),
    *("sandboxes_mb", "temperature_c"),
)
_MISSING = "-"


def page(run: Mapping[str, Any], drawings: Mapping[str, str]) -> str:
    """The HTML text of a run's document; `drawings` are its pictures as SVG."""
    title = f"Load tests of {escape(run['target'])}"
    scenarios = "".join(_scenario(each, drawings) for each in run["scenarios"])
    return (
        "<!doctype html>\n<html lang='en'>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width'>\n"
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n<h1>{title}</h1>\n"
        f"{_head(run)}{scenarios}{_nodes(run, drawings)}{_environment(run)}</html>\n"
    )


def _head(run: Mapping[str, Any]) -> str:
    pace = "a quick run: figures to look at, not to quote" if run["quick"] else ""
    repetitions = run["repetitions"]
    made_of = (
        f"{repetitions} repetitions"
        if repetitions > 1
        else "five pieces of one run, for want of repetitions"
    )
    return (
        f"<p>{escape(run['time'])}{', ' if pace else ''}{pace}. Closed loop: a client "
        "calls again when it has been answered. Open loop: calls leave when they are "
        "due, and their time counts from then. Failed calls are in the percentiles. "
        f"Intervals: 95 %, a bootstrap over {made_of}. The start of each point is cut "
        "off. <em>platform</em> is the share of a warm call's time that was not its "
        "action's.</p>\n"
    )


def _scenario(scenario: Mapping[str, Any], drawings: Mapping[str, str]) -> str:
    head = "".join(f"<th scope='col'>{column}</th>" for column in _COLUMNS)
    points = scenario["points"]
    rows = "".join(_row(p, line) for p in points for line in p["lines"])
    name = scenario["name"]
    pictures = "".join(
        f"<figure>{svg}</figure>\n"
        for key, svg in drawings.items()
        if key.startswith(f"{name}-")
    )
    return (
        f"<h2 id='{escape(name)}'>{escape(name)}</h2>\n{''.join(_warnings(scenario))}"
        f"{pictures}<table>\n<thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody>"
        f"</table>\n{_errors(scenario)}{_usage(scenario)}"
    )


def _row(point: Mapping[str, Any], line: Mapping[str, Any]) -> str:
    mark = " class='failed'" if line["failures"] else ""
    server = line["server"]
    share = server["overhead_share"]
    cells = [
        f"<td>{escape(point['label'])}</td><td>{escape(line['name'])}</td>",
        f"<td>{line['loop']}</td><td>{line['requests']:,}</td>",
        f"<td{mark}>{line['failures']:,}</td><td>{line['cold']:,}</td>",
        *(
            _estimate(line, key)
            for key in ("rate_per_s", "p50_ms", "p90_ms", "p99_ms", "p99_9_ms")
        ),
        f"<td>{_number(line['max_ms'])}</td><td>{line['tail_to_median']:.1f}</td>",
        *(f"<td>{_number(server[key])}</td>" for key in ("wait_ms", "init_ms")),
        f"<td>{_number(server['run_ms'])}</td>",
        f"<td>{_MISSING if share is None else f'{share:.0%}'}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>\n"


def _estimate(line: Mapping[str, Any], key: str) -> str:
    spread = line["intervals"][key]
    low, high = _number(spread["low"]), _number(spread["high"])
    return (
        f"<td>{_number(line[key])}<br><span class='interval'>{low}-{high}</span></td>"
    )


def _number(value: float | None) -> str:
    if value is None:
        return _MISSING
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004


def _warnings(scenario: Mapping[str, Any]) -> Iterator[str]:
    late = [p["label"] for p in scenario["points"] if _overloaded(p)]
    if late:
        yield (
            "<p class='warn'>The generator was overloaded and sent late; the times of "
            f"these points are its own as well: {escape(', '.join(late))}. Give it a "
            "machine of its own, or several workers.</p>\n"
        )


def _overloaded(point: Mapping[str, Any]) -> bool:
    return any(line["generator_overloaded"] for line in point["lines"])


def _errors(scenario: Mapping[str, Any]) -> str:
    found = [
        f"<li class='failed'>{escape(point['label'])}: {count:,} x {escape(text)}</li>"
        for point in scenario["points"]
        for line in point["lines"]
        for text, count in line["errors"].items()
    ]
    return f"<ul>{''.join(found)}</ul>\n" if found else ""


def _usage(scenario: Mapping[str, Any]) -> str:
    rows = [
        _usage_row(point, usage)
        for point in scenario["points"]
        for usage in point["usage"]
    ]
    if not rows:
        return ""
    head = "".join(f"<th scope='col'>{column}</th>" for column in _USAGE_COLUMNS)
    return (
        "<h3>What it took of the nodes</h3>\n<table>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{''.join(rows)}</tbody></table>\n"
    )


def _usage_row(point: Mapping[str, Any], usage: Mapping[str, Any]) -> str:
    figures = "".join(f"<td>{_number(usage[name])}</td>" for name in _USAGE)
    cost = ", ".join(f"{key} {value:g}" for key, value in point["cost"].items())
    head = f"<td>{escape(point['label'])}</td><td>{escape(usage['node'])}</td>"
    return f"<tr>{head}{figures}<td>{escape(cost) or _MISSING}</td></tr>\n"


def _nodes(run: Mapping[str, Any], drawings: Mapping[str, str]) -> str:
    pictures = "".join(
        f"<figure>{svg}</figure>\n"
        for key, svg in drawings.items()
        if key.startswith("node-")
    )
    facts = "".join(
        f"<h3>{escape(name or 'node')}</h3>\n{_list(node)}"
        for name, node in run["nodes"].items()
    )
    skews = "".join(
        f"<li>{escape(name or 'node')}: {skew['ms']:+.1f} ms, give or take "
        f"{skew['error_ms']:.1f} ms</li>"
        for name, skew in run["skew"].items()
    )
    clocks = f"<p>Clocks against ours:</p><ul>{skews}</ul>\n" if skews else ""
    return f"<h2>The nodes</h2>\n{pictures}{facts}{clocks}" if facts else ""


def _environment(run: Mapping[str, Any]) -> str:
    missing = "".join(f"<li>{escape(text)}</li>" for text in run["not_measured"])
    return (
        f"<h2>The machine that asked</h2>\n{_list(run['environment'])}"
        f"<h2>What was not measured</h2>\n<ul>{missing}</ul>\n"
        f"<h2>What the thin lines are</h2>\n<p>{escape(prior().source)}.</p>\n"
    )


def _list(facts: Mapping[str, Any]) -> str:
    items = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(_text(value))}</dd>\n"
        for key, value in facts.items()
    )
    return f"<dl>\n{items}</dl>\n"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {each}" for key, each in value.items() if each)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
