"""`edgectl action put|get|invoke|list|delete`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import Failed, InputError
from controller.cli.options import (
    Annotations,
    Limit,
    ParamFile,
    Params,
    created_or_updated,
    where,
)
from controller.cli.pairs import key_values, parameters, parse

if TYPE_CHECKING:
    from controller.fleet.client import Client
    from controller.fleet.wire import ActionBody, ActionItem, Limits, Outcome

app = typer.Typer(
    help="Actions: put them on the nodes, invoke them.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="NAME, PKG/NAME or /NS/[PKG/]NAME.")]

#: How long an action may still run after the host has stopped waiting for it.
AFTER_WAIT_S = 300.0


@app.command("put")
@with_target
async def put_action(
    call: Call,
    name: Name,
    file: Annotated[
        Path | None,
        typer.Argument(help=".py, .js or .zip; left out, the code stays as it is."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="python:default, nodejs:default, …")
    ] = None,
    main: Annotated[
        str | None, typer.Option(help="The function to run (default: main).")
    ] = None,
    param: Params = None,
    param_file: ParamFile = None,
    annotation: Annotations = None,
    memory: Annotated[
        int | None, typer.Option(metavar="MB", help="Memory limit.")
    ] = None,
    timeout: Annotated[
        int | None, typer.Option(metavar="MS", help="Time limit of one run.")
    ] = None,
    logs: Annotated[
        int | None, typer.Option(metavar="MB", help="Limit of its log.")
    ] = None,
) -> None:
    """Create or update an action, on every node of the target.

    The kind follows from the file's name: .py is python:default, .js nodejs:default;
    in a .zip a __main__.py or a package.json tells.
    """
    from controller.fleet.fleet import on_all

    body = _body(
        file,
        kind=kind,
        main=main,
        parameters=parameters(param_file, param or ()),
        annotations=parse(annotation or ()),
        limits=_limits(memory, timeout, logs),
    )
    async with call.clients() as clients:
        done = await on_all(clients, lambda client: client.put_action(name, body))
    first = done[0][1]
    word = created_or_updated(first.version)
    call.out.ok(f"{word} action {name}{where(target for target, _ in done)}")
    if call.out.json:
        call.out.document(_without_code(first))


@app.command("get")
@with_target
async def get_action(
    call: Call,
    name: Name,
    code: Annotated[bool, typer.Option("--code", help="Only its code.")] = False,
) -> None:
    """Show an action, without its code, or only its code."""
    from msgspec import UNSET

    found = await call.first(lambda c: c.get_action(name, code=code))
    if code and found.exec.code is UNSET:
        raise Failed(f"action {name} has no code: its kind is {found.exec.kind}")
    if code and not call.out.json:
        call.out.text(str(found.exec.code))
    else:
        call.out.document(found)


@app.command("invoke")
@with_target
async def invoke_action(
    call: Call,
    name: Name,
    param: Params = None,
    param_file: ParamFile = None,
    blocking: Annotated[
        bool,
        typer.Option(
            "--blocking/--no-wait", "-b", help="Wait for the end, or only hand over."
        ),
    ] = True,
    result: Annotated[
        bool, typer.Option("--result", "-r", help="Only the result, not the record.")
    ] = False,
) -> None:
    """Invoke an action on the least loaded node of the target.

    Prints the activation record (with --result its result, with --no-wait the
    activation id). The exit code is 1 when the action failed.
    """
    from msgspec import json

    from controller.fleet.fleet import least_loaded

    payload = json.encode(parameters(param_file, param or ()))
    async with call.clients() as clients:
        client = await least_loaded(clients)
        if blocking:
            outcome = await client.invoke(name, payload)
            await _show(call, client, name, outcome, only_result=result)
        else:
            _show_id(call, client, name, await client.post(name, payload))


@app.command("list")
@with_target
async def list_actions(call: Call, limit: Limit = 1000) -> None:
    """List the actions of the target, those in packages too."""
    from controller.fleet.fleet import on_all

    async with call.clients() as clients:
        found = await on_all(clients, lambda c: c.list_actions(limit=limit))
    rows: dict[tuple[str, ...], list[str]] = {}
    for target, items in found:
        for item in items:
            rows.setdefault(_row(item), []).append(target.name)
    call.out.table(
        ["action", "kind", "version", "memory", "timeout", "node"],
        [[*row, ", ".join(nodes)] for row, nodes in rows.items()],
        document=[
            {"node": target.name, **_listed(item)}
            for target, items in found
            for item in items
        ],
    )


@app.command("delete")
@with_target
async def delete_action(call: Call, name: Name) -> None:
    """Delete an action from every node of the target that has it."""
    await delete_everywhere(call, "action", name)


async def delete_everywhere(call: Call, what: str, name: str, **options: Any) -> None:
    """Delete on every node; 404 only when none had it."""
    from controller.fleet.fleet import NOT_FOUND, on_each

    async with call.clients() as clients:
        done = await on_each(
            clients, lambda c: getattr(c, f"delete_{what}")(name, **options)
        )
    gone = [each.target for each in done if each.error is None]
    failed = [each for each in done if each.error and each.error.status != NOT_FOUND]
    for each in failed:
        raise Failed(f"{each.target.name}: {each.error}") from each.error
    if not gone:
        raise Failed(str(done[0].error)) from done[0].error
    call.out.ok(f"deleted {what} {name}{where(gone)}")
    if call.out.json:
        call.out.document({"deleted": name, "nodes": [t.name for t in gone]})


async def _show(
    call: Call, client: Client, name: str, outcome: Outcome, *, only_result: bool
) -> None:
    from msgspec import json

    response, body = outcome.response, outcome.body
    if response is None:
        call.out.say(f"{name} still runs as {outcome.activation_id}; waiting for it")
        record = await client.wait(outcome.activation_id, timeout_s=AFTER_WAIT_S)
        response, body = record.response, json.encode(record)
    call.out.ok(
        f"invoked {name} with id {outcome.activation_id}{where([client.target])}"
    )
    shown = response.result if only_result else body
    call.out.document(json.decode(shown))
    if not response.success:
        raise Failed(f"{name}: {response.status}")


def _show_id(call: Call, client: Client, name: str, activation_id: str) -> None:
    call.out.ok(f"invoked {name}{where([client.target])}")
    if call.out.json:
        named = {"activationId": activation_id, "node": client.target.name}
        call.out.document(named)
    else:
        call.out.text(activation_id)
    call.out.hint(f"its record: edgectl activation get {activation_id}")


def _body(
    file: Path | None,
    *,
    kind: str | None,
    main: str | None,
    parameters: dict[str, Any],
    annotations: dict[str, Any],
    limits: Limits | None,
) -> ActionBody:
    from msgspec import UNSET

    from controller.fleet.code import executable
    from controller.fleet.wire import ActionBody

    if file is None and (kind or main):
        raise InputError("--kind and --main need the code's FILE")
    return ActionBody(
        exec=UNSET if file is None else executable(file, kind=kind, main=main),
        parameters=key_values(parameters) if parameters else UNSET,
        annotations=key_values(annotations) if annotations else UNSET,
        limits=limits or UNSET,
    )


def _limits(memory: int | None, timeout: int | None, logs: int | None) -> Limits | None:
    from msgspec import UNSET

    from controller.fleet.wire import Limits

    if memory is timeout is logs is None:
        return None
    return Limits(
        memory=UNSET if memory is None else memory,
        timeout=UNSET if timeout is None else timeout,
        logs=UNSET if logs is None else logs,
    )


def _without_code(action: Any) -> Any:
    from msgspec import UNSET, structs

    return structs.replace(action, exec=structs.replace(action.exec, code=UNSET))


def _row(item: ActionItem) -> tuple[str, ...]:
    limits = item.limits
    return (
        item.full_name.within,
        item.kind,
        item.version,
        f"{limits.memory} MB",
        f"{limits.timeout / 1000:g} s",
    )


def _listed(item: ActionItem) -> dict[str, Any]:
    return {
        "name": item.full_name.within,
        "namespace": item.full_name.namespace,
        "kind": item.kind,
        "version": item.version,
        "limits": item.limits,
        "updated": item.updated,
    }
