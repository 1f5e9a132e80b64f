"""What every command that talks to an OpenWhisk has: a target, and `--json`.

    @app.command("list")
    @with_target
    async def list_actions(call: Call, limit: Limit = 30) -> None: ...

The decorator adds the options to the command's own and hands their values over as one
`Call`; a coroutine is run to its end. `with_output` does the same with `--json` alone.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from controller.cli.output import Output
from controller.fleet.inventory_place import inventory_place
from controller.fleet.target import Choice, Chosen, choose

if TYPE_CHECKING:
    from controller.fleet.client import Client

Found = TypeVar("Found")
_TARGET = "Target (default: OPENWHISK_APIHOST, ~/.wskprops, or the local fleet)"

Fleet = Annotated[
    Path | None,
    typer.Option(
        "--fleet",
        "-i",
        metavar="INVENTORY",
        help="Every node of an Ansible inventory.",
        rich_help_panel=_TARGET,
    ),
]
Dir = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="The local fleet in DIR.",
        rich_help_panel=_TARGET,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="URL",
        help="Any OpenWhisk API host, or a NAME of targets.toml.",
        rich_help_panel=_TARGET,
    ),
]
Auth = Annotated[
    str | None,
    typer.Option(
        "--auth", metavar="KEY", help="Its key, uuid:key.", rich_help_panel=_TARGET
    ),
]
SystemAuth = Annotated[
    str | None,
    typer.Option(
        "--system-auth",
        metavar="KEY",
        help="The key of whisk.system.",
        rich_help_panel=_TARGET,
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Take any certificate.", rich_help_panel=_TARGET),
]
Node = Annotated[
    str | None,
    typer.Option(
        "--node", metavar="NAME", help="One node only.", rich_help_panel=_TARGET
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a command: who is meant, and how to answer."""

    choice: Choice
    out: Output

    def chosen(self) -> Chosen:
        """The targets; see `controller.fleet.target` for the order."""
        return choose(self.choice, environ=os.environ, home=Path.home())

    def of_fleet(self) -> Call:
        """This call, about the inventory where no other target is asked for."""
        given = self.choice
        place = inventory_place(None, os.environ, Path.home())
        if given.fleet or given.dir or given.url or not place.exists():
            return self
        return replace(self, choice=replace(given, fleet=place))

    @asynccontextmanager
    async def clients(self, **options: Any) -> AsyncIterator[list[Client]]:
        """A client for each target."""
        from controller.fleet.client import Client

        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(Client(target, **options))
                for target in self.chosen().targets
            ]

    async def first(self, get: Callable[[Client], Awaitable[Found]]) -> Found:
        """What the first node that has it has."""
        from controller.fleet.fleet import first_found

        async with self.clients() as clients:
            _, found = await first_found(clients, get)
        return found


Command = Callable[..., None] | Callable[..., Coroutine[Any, Any, None]]


def with_target(command: Command) -> Callable[..., None]:
    """Add the target options and `--json`; `command` takes a `Call` first."""

    def call(given: dict[str, Any]) -> Call:
        choice = Choice(
            fleet=given.pop("fleet_"),
            dir=given.pop("dir_"),
            url=given.pop("url_"),
            auth=given.pop("auth_"),
            system_auth=given.pop("system_auth_"),
            insecure=given.pop("insecure_"),
            node=given.pop("node_"),
        )
        return Call(choice, Output(json=given.pop("json_")))

    options = {
        "fleet_": Fleet,
        "dir_": Dir,
        "url_": Url,
        "auth_": Auth,
        "system_auth_": SystemAuth,
        "insecure_": Insecure,
        "node_": Node,
        "json_": Json,
    }
    return _extended(command, options, call)


def with_output(command: Command) -> Callable[..., None]:
    """Add `--json`; `command` takes an `Output` first."""

    def output(given: dict[str, Any]) -> Output:
        return Output(json=given.pop("json_"))

    return _extended(command, {"json_": Json}, output)


def _extended(
    command: Command,
    options: dict[str, Any],
    first: Callable[[dict[str, Any]], Any],
) -> Callable[..., None]:
    """`command` with `options` in its signature, which is all that Typer reads."""

    @functools.wraps(command)
    def extended(**given: Any) -> None:
        argument = first(given)
        running = command(argument, **given)
        if running is not None:
            import asyncio

            asyncio.run(running)

    signature = inspect.signature(command, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=False if annotation in {Insecure, Json} else None,
        )
        for name, annotation in options.items()
    ]
    named = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    extended.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*named, *shared], return_annotation=None
    )
    extended.__annotations__ = {p.name: p.annotation for p in [*named, *shared]}
    del extended.__wrapped__
    return extended
