"""`edgectl bench`: load tests against any target, with reports to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_output, with_target
from controller.cli.errors import Failed, InputError
from controller.cli.output import Output

if TYPE_CHECKING:
    from controller.loadtest.workers import Group

app = typer.Typer(no_args_is_help=True, help="Load tests, with reports.")

Scenarios = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SCENARIO]...",
        help="concurrency, payload, transfer, latency (the default: those four), "
        "coldstart, burst, mqtt, mixed, soak.",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer points, of seconds each.")]
Repetitions = Annotated[
    int, typer.Option("--repetitions", min=1, help="Of each point.")
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Where the report goes.")
]
Broker = Annotated[str, typer.Option("--broker", metavar="HOST:PORT", help="For mqtt.")]
Price = Annotated[
    float | None, typer.Option("--price", min=0, help="Of a node's hour.")
]
Watts = Annotated[float | None, typer.Option("--watts", min=0, help="A node draws.")]
Processes = Annotated[
    int, typer.Option("--processes", min=0, help="Generators on this machine.")
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers", metavar="GROUP", help="Generators on hosts of the inventory."
    ),
]
WorkerSettings = Annotated[
    list[str] | None,
    typer.Option("--worker-set", metavar="NAME=VALUE", help="Of role load_worker."),
]
_LIMITS = ("rate_per_s", "concurrency", "payload_bytes")


@app.callback()
def group() -> None:
    """Load tests, with reports."""


@app.command("run")
@with_target
def run(
    call: Call,
    scenarios: Scenarios = None,
    *,
    quick: Quick = False,
    repetitions: Repetitions = 1,
    out: Out = Path("bench-results/run"),
    broker: Broker = "",
    price: Price = None,
    watts: Watts = None,
    processes: Processes = 0,
    workers: Workers = None,
    worker_settings: WorkerSettings = None,
) -> None:
    """Run load tests, one point after another, and write a report.

    With several targets the first one is asked and all are watched; `--node` names
    another.
    """
    from controller.loadtest.run import Order
    from controller.loadtest.run import run as measure
    from controller.loadtest.usage import Prices

    order = Order(
        scenarios=scenarios or (),
        out=out,
        quick=quick,
        repetitions=repetitions,
        broker=broker or _local_broker(call),
        prices=Prices(per_hour=price, watts=watts),
        processes=processes,
        workers=_group(call, workers, worker_settings or []),
    )
    report = measure(order, call.chosen().targets, call.out.say)
    _show(call.out, report)
    failures = sum(each["failures"] for each in report["scenarios"])
    if failures:
        raise Failed(f"{failures} calls failed; {report['report']} says why")


@app.command("limits")
@with_target
def limits(
    call: Call,
    *,
    slo: Annotated[
        str, typer.Option("--slo", metavar="EXPR", help="p99<100ms,errors<0.1%")
    ] = "p99<100ms,errors<0.1%",
    of: Annotated[
        list[str] | None,
        typer.Option("--of", metavar="LIMIT", help=f"{', '.join(_LIMITS)} (all)."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="2 s for each step.")] = False,
) -> None:
    """Search the highest rate, concurrency and payload that keep a service level."""
    from controller.loadtest.knees import Finder, document
    from controller.loadtest.slo import parse_level

    level = parse_level(slo)
    for name in of or ():
        if name not in _LIMITS:
            raise InputError(f"no limit '{name}'; there are: {', '.join(_LIMITS)}")
    target = call.chosen().targets[0]
    finder = Finder(target, level, 2.0 if quick else 8.0, call.out.say)
    knees = {name: finder.find(name) for name in of or _LIMITS}
    call.out.table(
        ("LIMIT", "HOLDS", "BREAKS AT", "BY"),
        [
            (
                name,
                f"{knee.value:,.0f}",
                "-" if knee.high is None else f"{knee.high:,.0f}",
                knee.reason or "nothing, as far as was looked",
            )
            for name, knee in knees.items()
        ],
        document=document(level, knees),
    )


@app.command("compare")
@with_output
def compare(
    out: Output,
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of reports.")
    ],
) -> None:
    """Compare runs with the first; exit code 1 when one is worse beyond chance."""
    from controller.loadtest.compare import compare as compared
    from controller.loadtest.compare import read_run

    if len(runs) < 2:  # noqa: PLR2004
        raise InputError("give at least two runs")
    found = compared({str(place): read_run(place) for place in runs})
    marks = {"same": "", "better": "better", "worse": "WORSE"}
    out.table(
        ("RUN", "POINT", "LINE", "FIGURE", "FIRST", "THIS", "RATIO", ""),
        [
            (
                each.run,
                each.point,
                each.line,
                each.figure,
                f"{each.base.value:.3g}",
                f"{each.value.value:.3g}",
                f"{each.ratio:.2f}",
                marks[each.verdict],
            )
            for each in found.differences
        ],
        document={
            "worse": found.worse,
            "differences": [each.document() for each in found.differences],
            "missing": list(found.missing),
        },
    )
    for line in found.missing:
        out.warn(f"not in every run: {line}")
    if found.worse:
        raise Failed("there are figures that got worse")


def _group(call: Call, group: str | None, settings: list[str]) -> Group | None:
    from controller.cli.pairs import parse
    from controller.cli.play import find_inventory
    from controller.loadtest.workers import Group

    if group is None:
        return None
    given = {f"load_worker_{k}": v for k, v in parse(settings).items()}
    return Group(find_inventory(call.choice.fleet), group, given)


def _local_broker(call: Call) -> str:
    """HOST:PORT of the broker of the local fleet that is meant, if it runs."""
    from controller.fleet.local_state import read_state

    source = call.chosen().source
    state = read_state(source) if source is not None else None
    broker = state.broker if state is not None else None
    return f"{broker.host}:{broker.port}" if broker and broker.runs else ""


def _show(out: Output, report: dict[str, Any]) -> None:
    out.table(
        ("SCENARIO", "CALLS", "FAILED", "BEST PER SECOND", "P50", "P99"),
        [
            (
                each["name"],
                f"{each['requests']:,}",
                f"{each['failures']:,}",
                f"{each['rate_per_s']:,.1f}",
                f"{each['p50_ms']:.2f} ms",
                f"{each['p99_ms']:.2f} ms",
            )
            for each in report["scenarios"]
        ],
        document=report,
    )
    out.ok(f"wrote {report['report']}")
