"""`edgectl demo`: the whole of it in a minute."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.call import with_output
from controller.cli.errors import Failed, InputError
from controller.cli.output import Output

if TYPE_CHECKING:
    from controller.demo import DemoOptions
    from controller.demo_report import DemoReport

GPIO_STEPS = 3
FAST_POINTS, FAST_READINGS = "2e7", 200
LEAST_POINTS = 1_000


@with_output
def demo(
    out: Output,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running, and say what to try.")
    ] = False,
    points: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Random points for pi; 1e9 is fine (default: 2e8)."
        ),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Fewer readings, fewer points.")
    ] = False,
    gpio: Annotated[
        bool, typer.Option("--gpio", help="Instead: a mock button and a mock lamp.")
    ] = False,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="For its data and logs (default: ~/.local/share/edgewhisk/demo).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start three nodes and a broker here, and see them work.

    A year of recorded weather goes through MQTT to an action and back, a second one is
    spread over all nodes, and pi is computed on them. Then everything is stopped.
    """
    from controller.cli.demo_show import DemoShow
    from controller.demo import DemoOptions, run_demo
    from controller.fleet.local_state import data_home

    options = DemoOptions(
        directory=directory or data_home(os.environ, Path.home()) / "demo",
        keep=keep,
        points=_points(points or (FAST_POINTS if fast else "2e8")),
        readings=FAST_READINGS if fast else None,
    )
    if gpio:
        _run_gpio(out, options)
        return
    with DemoShow(out) as show:
        report = run_demo(options, show)
    _tell(out, report)
    if report.lost:
        raise Failed(f"{report.lost} messages were lost; logs: {report.directory}")


def _run_gpio(out: Output, options: DemoOptions) -> None:
    from controller.cli.demo_show import DemoShow
    from controller.demo_gpio import run_gpio_demo

    with DemoShow(out, steps=GPIO_STEPS) as show:
        report = run_gpio_demo(options, show)
    if out.json:
        out.document(report.as_json())
    else:
        out.ok(report.sentence)
    if not report.kept:
        out.ok("everything is stopped")
        return
    out.say("it still runs; try:")
    out.say(f"  export EDGEWHISK_LOCAL_DIR={report.directory}")
    out.say("  edgectl action invoke /whisk.system/gpio/mock -p pin 17 -p level 0")
    out.say("  edgectl action invoke /whisk.system/gpio/read -p pin 27 --result")
    out.say("  edgectl local down")


def _points(text: str) -> int:
    try:
        points = float(text)
        whole = int(points)
    except (ValueError, OverflowError):
        whole = 0
    if whole < LEAST_POINTS:
        raise InputError(f"--points takes a number from 1e3 on, not '{text}'")
    return whole


def _tell(out: Output, report: DemoReport) -> None:
    from controller.cli.demo_show import closing

    if out.json:
        out.document(report.as_json())
    else:
        closing(out, report)
    if not report.kept:
        out.ok("everything is stopped")
        return
    out.say("it still runs; try:")
    for line in _to_try(report):
        out.say(f"  {line}")


def _to_try(report: DemoReport) -> list[str]:
    reading = '{"seq": 1, "temp_c": 21.5, "humidity_pct": 60}'
    port = report.broker_port
    return [
        f"export EDGEWHISK_LOCAL_DIR={report.directory}",
        "edgectl action list",
        "edgectl action invoke hello -p name Ada --result",
        "edgectl activation tail &",
        f"mosquitto_sub -p {port} -t weather/dew-point &",
        f"mosquitto_pub -p {port} -t weather/hourly -m '{reading}'",
        "edgectl pi --points 1e9",
        "edgectl local down",
    ]
