"""`edgectl`: the groups joined, and the one place where errors end.

`edgectl --help` must stay quick, so a group's module imports only Typer and what is
needed to parse; clients, Ansible, Locust and the rest come when a command runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from controller.cli import (
    action,
    activation,
    apply,
    backup,
    bench,
    bridge,
    bundle,
    dashboard,
    demo,
    deploy,
    doctor,
    events,
    fleet,
    local,
    mapreduce,
    on,
    package,
    rotate,
    rule,
    settings,
    target,
    top,
    trigger,
)
from controller.cli.errors import DONE, report
from controller.cli.pairs import join
from edge_agent import __version__

_SEE = "See it"
_USE = "Actions and events"
_COMPUTE = "Compute and measure"
_OPERATE = "Operate"

DEBUG = "--debug"
#: As `edgectl --help` shows them.
_ORDER = [
    "demo",
    "local",
    "top",
    "dashboard",
    "action",
    "trigger",
    "rule",
    "package",
    "activation",
]
_ORDER += [
    "events",
    "on",
    "bridge",
    "pi",
    "mapreduce",
    "bench",
    "fleet",
    "deploy",
    "apply",
]
_ORDER += [
    "backup",
    "restore",
    "settings",
    "bundle",
    "rotate",
    "remove",
    "doctor",
    "target",
]


class Edgectl(TyperGroup):
    """Typer's group with our errors: one line, and an exit code (see `errors`)."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order below; Typer puts commands before groups."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 errors end below instead
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        debug = DEBUG in given
        try:
            code = super().main(
                join([argument for argument in given if argument != DEBUG]),
                prog_name or "edgectl",
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 the edge
            code = report(error, debug=debug)
        sys.exit(code if isinstance(code, int) else DONE)


app = typer.Typer(
    name="edgectl",
    cls=Edgectl,
    help="A fleet of small OpenWhisk nodes: run it, feed it, compute with it.",
    epilog="Start here:  edgectl demo      Every command has --help and --json.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"edgectl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the traceback of an error.")
    ] = False,
) -> None:
    """The options before the command."""


app.command("demo", rich_help_panel=_SEE)(demo.demo)
app.add_typer(local.app, name="local", rich_help_panel=_SEE)
app.command("top", rich_help_panel=_SEE)(top.top)
app.command("dashboard", rich_help_panel=_SEE)(dashboard.dashboard)
app.add_typer(action.app, name="action", rich_help_panel=_USE)
app.add_typer(trigger.app, name="trigger", rich_help_panel=_USE)
app.add_typer(rule.app, name="rule", rich_help_panel=_USE)
app.add_typer(package.app, name="package", rich_help_panel=_USE)
app.add_typer(activation.app, name="activation", rich_help_panel=_USE)
app.add_typer(events.app, name="events", rich_help_panel=_USE)
app.add_typer(on.app, name="on", rich_help_panel=_USE)
app.add_typer(bridge.app, name="bridge", rich_help_panel=_USE)
app.add_typer(mapreduce.app, name="mapreduce", rich_help_panel=_COMPUTE)
app.command("pi", rich_help_panel=_COMPUTE)(mapreduce.pi)
app.add_typer(bench.app, name="bench", rich_help_panel=_COMPUTE)
app.add_typer(fleet.app, name="fleet", rich_help_panel=_OPERATE)
app.command("deploy", rich_help_panel=_OPERATE)(deploy.deploy)
app.command("bundle", rich_help_panel=_OPERATE)(bundle.bundle)
app.add_typer(rotate.app, name="rotate", rich_help_panel=_OPERATE)
app.command("remove", rich_help_panel=_OPERATE)(deploy.remove)
app.command("apply", rich_help_panel=_OPERATE)(apply.apply)
app.command("backup", rich_help_panel=_OPERATE)(backup.backup)
app.command("restore", rich_help_panel=_OPERATE)(backup.restore)
app.add_typer(settings.app, name="settings", rich_help_panel=_OPERATE)
app.command("doctor", rich_help_panel=_OPERATE)(doctor.doctor)
app.add_typer(target.app, name="target", rich_help_panel=_OPERATE)
