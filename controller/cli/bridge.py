"""`edgectl bridge run|check`: messages of a broker to actions of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from controller.cli.call import Call, with_output, with_target
from controller.cli.errors import INPUT
from controller.cli.options import where
from controller.cli.output import Output, complain, write

app = typer.Typer(
    help="MQTT messages to actions, spread over the fleet.", no_args_is_help=True
)
Map = Annotated[
    Path,
    typer.Option(
        "--map", metavar="FILE", help="YAML: broker, and entries of topic and action."
    ),
]


@app.command("run")
@with_target
async def run(
    call: Call,
    map_file: Map,
    print_json: Annotated[
        bool,
        typer.Option("--print-json", help="One JSON line once all is subscribed."),
    ] = False,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Serve /health and /metrics; port 0: any."
        ),
    ] = None,
    client_id: Annotated[
        str | None,
        typer.Option(help="Of two bridges on one machine: each its own."),
    ] = None,
) -> None:
    """Invoke an action for each message until SIGTERM; SIGHUP reads FILE again.

    A message is acknowledged to the broker only after a node has it on its disk.
    """
    import asyncio
    import logging
    import signal

    from controller.bridge import BridgeProcess

    targets = call.chosen().targets
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    process = BridgeProcess(
        map_file, targets, client_id=client_id, listen=_address(listen)
    )

    def connected(report: dict[str, Any]) -> None:
        if print_json or call.out.json:
            import msgspec

            write(msgspec.json.encode(report).decode())
        topics = ", ".join(report.get("topics") or ())
        call.out.ok(f"{topics} of {report.get('broker')}{where(targets)}")
        for one in report.get("refused") or ():
            call.out.warn(f"the broker refuses {one['topic']}: {one['why']}")

    bridging = asyncio.ensure_future(process.run(connected))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, bridging.cancel)
    loop.add_signal_handler(signal.SIGHUP, process.reload)
    try:
        await bridging
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # Ctrl-C, not SIGTERM
    call.out.say("stopped")


def _address(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter(f"expected HOST:PORT, got {text!r}")
    return host.strip("[]"), int(port)


@app.command("check")
@with_output
def check(out: Output, map_file: Map) -> None:
    """Say what is wrong with a mapping file."""
    from controller.bridge import check_map

    problems = check_map(map_file)
    if out.json:
        out.document({"map": str(map_file), "problems": problems})
    for problem in problems:
        complain(f"{map_file}: {problem}")
    if problems:
        raise typer.Exit(INPUT)
    out.ok(f"{map_file} is well")
