"""`edgectl package create|get|list|delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from controller.cli.action import delete_everywhere
from controller.cli.call import Call, with_target
from controller.cli.options import (
    Annotations,
    Limit,
    ParamFile,
    Params,
    created_or_updated,
    where,
)
from controller.cli.pairs import key_values, parameters, parse

app = typer.Typer(help="Packages: actions that belong together.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The package's name.")]


@app.command("create")
@with_target
async def create_package(
    call: Call,
    name: Name,
    param: Params = None,
    param_file: ParamFile = None,
    annotation: Annotations = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Others may read and invoke it.")
    ] = False,
) -> None:
    """Create or update a package on every node of the target."""
    from msgspec import UNSET

    from controller.fleet.fleet import on_all
    from controller.fleet.wire import PackageBody

    given = parameters(param_file, param or ())
    body = PackageBody(
        parameters=key_values(given) if given else UNSET,
        annotations=key_values(parse(annotation)) if annotation else UNSET,
        publish=True if shared else UNSET,
    )
    async with call.clients() as clients:
        done = await on_all(clients, lambda c: c.put_package(name, body))
    word = created_or_updated(done[0][1].version)
    call.out.ok(f"{word} package {name}{where(target for target, _ in done)}")
    if call.out.json:
        call.out.document(done[0][1])


@app.command("get")
@with_target
async def get_package(call: Call, name: Name) -> None:
    """Show a package with its actions and feeds."""
    call.out.document(await call.first(lambda c: c.get_package(name)))


@app.command("list")
@with_target
async def list_packages(call: Call, limit: Limit = 1000) -> None:
    """List the packages of the target."""
    from controller.fleet.fleet import on_all

    async with call.clients() as clients:
        found = await on_all(clients, lambda c: c.list_packages(limit=limit))
    call.out.table(
        ["package", "version", "shared", "node"],
        [
            [item.name, item.version, "yes" if item.publish else "no", target.name]
            for target, items in found
            for item in items
        ],
        document=[
            {
                "node": target.name,
                "name": item.name,
                "namespace": item.namespace,
                "version": item.version,
                "publish": item.publish,
            }
            for target, items in found
            for item in items
        ],
    )


@app.command("delete")
@with_target
async def delete_package(
    call: Call,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="With all that is in it.")
    ] = False,
) -> None:
    """Delete a package from every node that has it."""
    await delete_everywhere(call, "package", name, force=force)
