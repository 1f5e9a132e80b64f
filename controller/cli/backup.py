"""`edgectl backup NODE` and `edgectl restore NODE FILE`: all that a node keeps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.call import Call, with_target
from controller.cli.errors import Failed, InputError

if TYPE_CHECKING:
    from controller.fleet.target import Target

MEBIBYTE = 1 << 20
RESTORE_TIMEOUT_S = 600
#: In the environment of `edge-agent restore`: the key the backup was made with.
SYSTEM_KEY = "EDGEWHISK_SYSTEM_KEY"
Node = Annotated[str, typer.Argument(metavar="NODE", help="One node of the fleet.")]


@with_target
async def backup(
    call: Call,
    node: Node,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: NODE-TIME.db."),
    ] = None,
) -> None:
    """Copy everything a node keeps into a file, while it serves on.

    All that was accepted before is in it: actions, triggers, rules, records, what waits
    in the inbox, keys. The keys are sealed with the node's system key; code and records
    are not, so the file is its owner's alone.
    """
    from controller.fleet.backup import fetch_backup

    chosen = _only(call, node)
    place = output or Path(f"{node}-{time.strftime('%Y%m%d-%H%M%S')}.db")
    async with chosen.clients() as clients:
        if clients[0].target.system_key is None:
            raise InputError("a backup needs the system key: give --system-auth KEY")
        size = await fetch_backup(clients[0], place)
    call.out.ok(f"{node} is in {place} ({size / MEBIBYTE:.1f} MB)")
    if call.out.json:
        call.out.document({"node": node, "file": str(place), "bytes": size})


@with_target
def restore(
    call: Call,
    node: Node,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What backup made.")],
    discard: Annotated[
        bool,
        typer.Option("--discard", help="Drop accepted events that wait on the node."),
    ] = False,
) -> None:
    """Make a node what a backup says; it is stopped for that and started again.

    The node may have been flashed since: deploy to it first. What it had before stays
    there in before-restore/. Work that waited when the backup was made runs again.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    chosen = _only(call, node).chosen()
    if chosen.source is None:
        raise InputError("restore needs a node of an inventory or of a local fleet")
    if (chosen.source / "fleet.json").exists():
        _restore_local(call, chosen.source, chosen.targets[0], file, discard=discard)
    else:
        _restore_deployed(call, chosen.source, node, file, discard=discard)


def _only(call: Call, node: str) -> Call:
    fleet = call.of_fleet()
    return Call(replace(fleet.choice, node=node), fleet.out)


def _restore_local(
    call: Call, folder: Path, target: Target, file: Path, *, discard: bool
) -> None:
    from controller.local import LocalFleet

    fleet = LocalFleet(folder, say=call.out.say)
    node = next(one for one in fleet.status().nodes if one.name == target.name)
    command = [sys.executable, "-m", "edge_agent", "restore", str(file)]
    command += ["--data", node.data, *(["--discard"] if discard else [])]
    fleet.stop(node.name)
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=RESTORE_TIMEOUT_S,
            env={**os.environ, SYSTEM_KEY: target.system_key or ""},
        )
    finally:
        fleet.start(node.name)
    if done.returncode:
        raise Failed(done.stderr.strip().removeprefix("error: "))
    call.out.ok(f"{node.name}: {done.stdout.strip()}")


def _restore_deployed(
    call: Call, inventory: Path, node: str, file: Path, *, discard: bool
) -> None:
    from controller.cli.play import run_playbook

    if call.choice.system_auth:  # not as a variable: those stand in the log
        os.environ[SYSTEM_KEY] = call.choice.system_auth
    run_playbook(
        call.out,
        "restore",
        inventory=inventory.absolute(),
        variables={
            "edge_agent_backup": str(file.absolute()),
            "edge_agent_discard": discard,
        },
        limit=node,
        told=f"restored {file.name}",
    )
