"""`edgectl local up|status|start|stop|down`: a fleet on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import with_output
from controller.cli.output import Output

if TYPE_CHECKING:
    from controller.fleet.local_state import (
        LocalBroker,
        LocalNode,
        LocalService,
        LocalState,
    )
    from controller.local import LocalFleet

app = typer.Typer(
    help="A fleet on this machine: real nodes, a broker.", no_args_is_help=True
)
Dir = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="Where it lives (default: EDGEWHISK_LOCAL_DIR, else"
        " ~/.local/share/edgewhisk/local).",
        show_default=False,
    ),
]
Part = Annotated[
    str, typer.Argument(metavar="NAME", help="A node, 'broker' or 'prometheus'.")
]


@app.command("up")
@with_output
def up(
    out: Output,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="How many nodes (3, or as many as before)."),
    ] = None,
    directory: Dir = None,
    broker: Annotated[
        bool, typer.Option("--broker/--no-broker", help="With an MQTT broker.")
    ] = True,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Nodes speak https as well, with an own authority."),
    ] = False,
    monitoring: Annotated[
        bool,
        typer.Option(
            "--monitoring",
            help="With Prometheus and alert rules, and Grafana where it is installed.",
        ),
    ] = False,
) -> None:
    """Start a fleet: its nodes, each a process of its own, and an MQTT broker.

    What is up already stays as it is. Every other command finds this fleet by itself.
    """
    fleet = _fleet(out, directory)
    done = fleet.up(nodes, broker=broker, tls=tls, monitoring=monitoring)
    state = done.state
    word = "is up" if done.changed else "is up already"
    out.ok(f"the fleet in {fleet.directory} {word}: {_parts(state)}")
    document = _document(fleet, state, with_state=False)
    out.table(_COLUMNS, _rows(state), document=document)
    if state.ca:
        urls = ", ".join(node.tls_url for node in state.nodes if node.tls_url)
        out.say(f"https: {urls or 'after a restart'} (authority: {state.ca})")
    for service in state.services:
        out.say(f"{service.name}: {service.url}")
    out.hint("try: edgectl action list      stop it: edgectl local down")


@app.command("status")
@with_output
def status(out: Output, directory: Dir = None) -> None:
    """Show the nodes and the broker, and whether they run."""
    fleet = _fleet(out, directory)
    state = fleet.status()
    if not state.nodes:
        out.say(f"no fleet in {fleet.directory}; `edgectl local up` starts one")
    out.table(_COLUMNS, _rows(state), document=_document(fleet, state))


@app.command("start")
@with_output
def start(out: Output, name: Part, directory: Dir = None) -> None:
    """Start one node, or another part, on its old port with its old data."""
    fleet = _fleet(out, directory)
    state = fleet.start(name)
    out.ok(f"{name} is up")
    if out.json:
        out.document(_document(fleet, state))


@app.command("stop")
@with_output
def stop(out: Output, name: Part, directory: Dir = None) -> None:
    """Stop one node, or another part; it keeps its data."""
    fleet = _fleet(out, directory)
    state = fleet.stop(name)
    out.ok(f"{name} is down")
    if out.json:
        out.document(_document(fleet, state))


@app.command("down")
@with_output
def down(
    out: Output,
    directory: Dir = None,
    wipe: Annotated[
        bool, typer.Option("--wipe", help="Delete its data and logs as well.")
    ] = False,
) -> None:
    """Stop the whole fleet and leave no process; its data stays for the next `up`."""
    fleet = _fleet(out, directory)
    state = fleet.down(wipe=wipe)
    if not state.nodes:
        out.say(f"no fleet in {fleet.directory}")
    elif wipe:
        out.ok(f"the fleet in {fleet.directory} is down and deleted")
    else:
        out.ok(f"the fleet in {fleet.directory} is down; its data and logs stay there")
    if out.json:
        out.document(_document(fleet, state))


_COLUMNS = ("name", "state", "url", "pid", "log")


def _fleet(out: Output, directory: Path | None) -> LocalFleet:
    from controller.fleet.local_state import local_dir
    from controller.local import LocalFleet

    found = directory or local_dir(os.environ, Path.home())
    return LocalFleet(found, say=out.say)


def _document(
    fleet: LocalFleet, state: LocalState, *, with_state: bool = True
) -> dict[str, Any]:
    """The shape that scripts rely on (design, section 7)."""

    def stated(part: LocalNode | LocalBroker | LocalService) -> dict[str, str]:
        return {"state": _word(part)} if with_state else {}

    nodes = [
        {
            "name": node.name,
            "url": node.url,
            **({"tls_url": node.tls_url} if node.tls_url else {}),
            "key": node.key,
            "system_key": node.system_key,
            "pid": _pid(node),
            "data": node.data,
            "log": node.log,
            **stated(node),
        }
        for node in state.nodes
    ]
    broker = state.broker
    told = broker and {"host": broker.host, "port": broker.port, **stated(broker)}
    more: dict[str, Any] = {"ca": state.ca} if state.ca else {}
    if state.services:
        more["monitoring"] = {
            one.name: {"url": one.url, "pid": _pid(one), "log": one.log, **stated(one)}
            for one in state.services
        }
    return {"dir": str(fleet.directory), "nodes": nodes, "broker": told, **more}


def _rows(state: LocalState) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (node.name, _word(node), node.url, str(_pid(node) or ""), node.log)
        for node in state.nodes
    ]
    if state.broker is not None:
        broker = state.broker
        url = f"mqtt://{broker.host}:{broker.port}"
        pid = str(_pid(broker) or "")
        rows.append(("broker", _word(broker), url, pid, broker.log))
    rows += [
        (one.name, _word(one), one.url, str(_pid(one) or ""), one.log)
        for one in state.services
    ]
    return rows


def _parts(state: LocalState) -> str:
    count = len(state.nodes)
    nodes = f"{count} node{'s' if count != 1 else ''}"
    broker = state.broker
    if broker is None or not broker.runs:
        return f"{nodes}, no broker"
    return f"{nodes}, {broker.program} on port {broker.port}"


def _word(part: LocalNode | LocalBroker | LocalService) -> str:
    return "up" if part.runs else "down"


def _pid(part: LocalNode | LocalBroker | LocalService) -> int | None:
    return part.process.pid if part.process is not None and part.runs else None
