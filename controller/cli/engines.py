"""`edgectl deploy --engine lean|openwhisk`, and `edgectl remove` of them.

What they serve becomes a target by name: `edgectl --target NAME`, or from now on by
`edgectl target use NAME`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.errors import InputError
from controller.cli.output import Output
from controller.cli.pairs import value_of
from controller.cli.play import find_inventory, hosts_of_run, run_playbook

if TYPE_CHECKING:
    from controller.fleet.entries import Entry


class Engine(StrEnum):
    """What runs the actions."""

    EDGE = "edge"
    LEAN = "lean"
    OPENWHISK = "openwhisk"


class Platform(StrEnum):
    KUBERNETES = "kubernetes"


EngineOption = Annotated[
    Engine,
    typer.Option(
        help="edge: our agent; lean: upstream's standalone OpenWhisk on every host;"
        " openwhisk: Apache OpenWhisk on a cluster.",
    ),
]
On = Annotated[
    Platform | None,
    typer.Option("--on", help="Where `--engine openwhisk` runs."),
]
Var = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="A variable of the roles, over the inventory's. Repeatable.",
    ),
]
VarFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Variables of the roles, as YAML."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the command line says, whatever the engine."""

    engine: Engine
    on: Platform | None = None
    inventory: Path | None = None
    limit: str | None = None
    forks: int | None = None
    check: bool = False
    diff: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return self.engine is Engine.EDGE and self.on is None


def deploy_engine(out: Output, ask: Ask) -> None:
    _check_platform(ask)
    if ask.engine is Engine.OPENWHISK:
        from controller.cli.cluster import deploy_openwhisk

        deploy_openwhisk(out, ask)
        return
    from controller.deploy.lean import make_keys, targets_of

    place, hosts = _hosts(ask)
    if not ask.check:
        make_keys(place, hosts)
    run_playbook(
        out,
        "openwhisk_lean",
        inventory=place,
        variables=absolute(ask.variables),
        told="deploying OpenWhisk standalone",
        limit=ask.limit,
        forks=ask.forks,
        check=ask.check,
        diff=ask.diff,
    )
    if not ask.check:
        keep_targets(out, targets_of(place, hosts, ask.variables))
        out.say(
            "what it holds is in memory: after a restart `edgectl apply` puts a"
            " manifest back"
        )


def remove_engine(out: Output, ask: Ask) -> None:
    _check_platform(ask)
    if ask.engine is Engine.OPENWHISK:
        from controller.cli.cluster import remove_openwhisk

        remove_openwhisk(out, ask)
        return
    from controller.deploy.lean import target_name

    place, hosts = _hosts(ask)
    run_playbook(
        out,
        "openwhisk_lean_remove",
        inventory=place,
        variables=ask.variables,
        told="removing OpenWhisk standalone",
        limit=ask.limit,
        forks=ask.forks,
    )
    for host in hosts:
        drop_target(out, target_name(host))


def keep_targets(out: Output, entries: Mapping[str, Entry]) -> None:
    from controller.fleet.entries import PLACE, put_entry

    place = Path.home() / PLACE
    for name, entry in entries.items():
        put_entry(place, name, entry)
        out.ok(f"target {name} ({entry.apihost}) is in {place}")
        out.hint(f"next: edgectl action list --target {name}")


def drop_target(out: Output, name: str) -> None:
    from controller.fleet.entries import PLACE, drop_entry

    place = Path.home() / PLACE
    if drop_entry(place, name):
        out.ok(f"target {name} is no longer in {place}")


def variables_of(pairs: list[str] | None, file: Path | None) -> dict[str, Any]:
    """`--var-file`, and `--var` over it."""
    found: dict[str, Any] = {}
    if file is not None:
        from controller.fleet.inventory_form import load_yaml

        if not file.is_file():
            raise InputError(f"--var-file {file}: no such file")
        found = load_yaml(file) or {}
        if not isinstance(found, dict):
            raise InputError(f"--var-file {file}: not a mapping; write NAME: VALUE")
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"--var takes NAME=VALUE, not '{pair}'")
        found[name] = value_of(text)
    return found


#: Files on this machine; Ansible looks for relative ones beside the playbook.
_FILES = frozenset(
    {
        "openwhisk_ca",
        "openwhisk_kubeconfig",
        "openwhisk_lean_image_archive",
        "openwhisk_lean_jar",
        "wsk_archive",
    }
)


def absolute(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables, with files as the caller's shell means them."""
    return {name: _absolute(name, value) for name, value in variables.items()}


def _absolute(name: str, value: Any) -> Any:
    """A chart may be a file or a name."""
    if not isinstance(value, str) or not value:
        return value
    path = Path(value).expanduser()
    is_file = name in _FILES or (name == "openwhisk_chart" and path.exists())
    return str(path.absolute()) if is_file else value


def _hosts(ask: Ask) -> tuple[Path, list[str]]:
    from controller.deploy.playbook import environment_for

    place = find_inventory(ask.inventory)
    return place, hosts_of_run(place, ask.limit, environment_for(os.environ))


def _check_platform(ask: Ask) -> None:
    if ask.engine is Engine.OPENWHISK and ask.on is None:
        raise InputError("--engine openwhisk runs on a cluster: add --on kubernetes")
    if ask.engine is not Engine.OPENWHISK and ask.on is not None:
        raise InputError(f"--on {ask.on} goes with --engine openwhisk only")
    if ask.on is not None and (ask.inventory or ask.limit or ask.forks):
        raise InputError(
            "a cluster has no inventory: its variables come by --var and --var-file"
        )
