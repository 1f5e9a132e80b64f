"""`edgectl bench`: load tests against any target, with a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import Failed

app = typer.Typer(no_args_is_help=True, help="Load tests, with a report.")


@app.callback()
def group() -> None:
    """Load tests, with a report."""


@app.command("run")
@with_target
def run(
    call: Call,
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SCENARIO]...",
            help="concurrency, payload, latency (default: all of them).",
        ),
    ] = None,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="5 s for each scenario instead of 30.")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the report goes.")
    ] = Path("bench-results/run"),
) -> None:
    """Run load tests, one scenario after another, and write a report.

    With several targets the first one is asked; `--node` names another.
    """
    from controller.bench.run import run_scenarios

    target = call.chosen().targets[0]
    report = run_scenarios(
        scenarios or (), target, quick=quick, out=out, say=call.out.say
    )
    _show(call, report)
    for scenario in report["scenarios"]:
        for text, count in scenario["errors"].items():
            call.out.warn(f"{scenario['name']}: {count} x {text}")
    failures = sum(scenario["failures"] for scenario in report["scenarios"])
    if failures:
        raise Failed(f"{failures} calls failed")


def _show(call: Call, report: dict[str, Any]) -> None:
    lines = [line for each in report["scenarios"] for line in each["lines"]]
    call.out.table(
        ("REQUEST", "REQUESTS", "FAILURES", "PER SECOND", "P50", "P99"),
        [
            (
                line["name"],
                str(line["requests"]),
                str(line["failures"]),
                f"{line['rate_per_s']:.1f}",
                f"{line['p50_ms']:.0f} ms",
                f"{line['p99_ms']:.0f} ms",
            )
            for line in lines
        ],
        document=report,
    )
    call.out.ok(f"wrote {report['report']} and {report['data']}")
