"""`edge-agent run|user|restore|doctor`: the command line of one node.

argparse, not Typer: a node installs nothing that only a laptop needs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_agent import __version__
from edge_agent.allocator import set_up_allocator
from edge_agent.app import Node
from edge_agent.model.errors import SettingsError
from edge_agent.sandbox.container.engine import describe_engine
from edge_agent.sandbox.probe import probe_kernel
from edge_agent.settings import Settings, load_settings
from edge_agent.store.restore import restore
from edge_agent.systemd import Manager
from edge_agent.telemetry.log import set_up_logging
from edge_agent.telemetry.traps import Traps
from edge_agent.users import add_user

LEVELS = ("rlimits", "namespaces", "full")
#: What a burst makes lives until it is on disk: Python's own 700 look at it in vain, a
#: quarter of the time. Cycles are few here.
COLLECT_AFTER = (20_000, 20, 20)
EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


def run_command(arguments: Sequence[str]) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-agent", description="One EdgeWhisk node: a Lean OpenWhisk."
    )
    parser.add_argument(
        "--version", action="version", version=f"edge-agent {__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a node in the foreground")
    run.add_argument("--settings", type=Path, metavar="FILE", help="a TOML file")
    run.add_argument("--data", metavar="DIR", help="the data folder (data_dir)")
    run.add_argument("--host", metavar="H", help="the address to listen on")
    run.add_argument("--port", type=int, metavar="N", help="0 lets the system choose")
    run.add_argument(
        "--print-json",
        action="store_true",
        help="print url, key, system_key, pid and data on one line once it serves",
    )
    run.set_defaults(command=_run)
    back = commands.add_parser("restore", help="make the data folder what a backup is")
    back.add_argument("backup", type=Path, metavar="FILE", help="the backup")
    back.add_argument("--settings", type=Path, metavar="FILE", help="a TOML file")
    back.add_argument("--data", metavar="DIR", help="the data folder (data_dir)")
    back.add_argument(
        "--discard", action="store_true", help="drop accepted events that wait there"
    )
    back.set_defaults(command=_restore)
    doctor = commands.add_parser("doctor", help="what this machine gives, and the fix")
    doctor.add_argument("--settings", type=Path, metavar="FILE", help="a TOML file")
    doctor.add_argument("--json", action="store_true", help="one JSON document")
    doctor.set_defaults(command=_doctor)
    add_user(commands)
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(
        options.settings,
        data_dir=options.data,
        server={"host": options.host, "port": options.port},
    )
    set_up_logging(settings.logging.level, settings.logging.format)
    set_up_allocator()
    _install_loop()
    return asyncio.run(_serve(settings, print_json=options.print_json))


async def _serve(settings: Settings, *, print_json: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    manager = Manager(os.environ)
    async with manager.watched(), Node(settings) as node:
        loop.add_signal_handler(signal.SIGHUP, node.reload)
        manager.tell("READY=1")
        if print_json:
            sys.stdout.write(json.dumps(node.facts) + "\n")
            sys.stdout.flush()
        # What is here now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        await node.serve_until(stop)
        manager.tell("STOPPING=1")
    return EXIT_DONE


def _install_loop() -> None:
    """Uvloop where there is a wheel for it; asyncio's own loop does as well."""
    try:
        import uvloop  # noqa: PLC0415 optional
    except ModuleNotFoundError:
        return
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def _restore(options: argparse.Namespace) -> int:
    settings = load_settings(options.settings, data_dir=options.data)
    folder = Path.cwd() / settings.data_dir
    auth = os.environ.get("EDGEWHISK_SYSTEM_KEY")
    origin = restore(folder, options.backup, auth=auth, discard=options.discard)
    made = datetime.fromtimestamp(origin.made_ms / 1000, UTC).isoformat("T", "seconds")
    sys.stdout.write(f"restored {folder}: node {origin.node_id} as of {made}\n")
    return EXIT_DONE


def _doctor(options: argparse.Namespace) -> int:
    settings = load_settings(options.settings)
    found = probe_kernel()
    level = settings.sandbox.minimum_level
    enough = LEVELS.index(found.level) >= LEVELS.index(level)
    engine = asyncio.run(describe_engine(settings.container.socket))
    findings: list[dict[str, Any]] = [
        {"text": one.text, "mend": one.mend} for one in found.findings
    ]
    folder = Path.cwd() / settings.data_dir
    findings += Traps(folder, pins=settings.gpio.pin_factory).read()
    if options.json:
        report = {"level": found.level, "enough": enough, "gives": found.gives}
        report["engine"] = engine
        sys.stdout.write(json.dumps({**report, "findings": findings}) + "\n")
    else:
        sys.stdout.write(f"isolation: {found.level} (at least {level} is asked for)\n")
        for name, text in found.gives.items():
            sys.stdout.write(f"  {name}: {text}\n")
        for one in findings:
            sys.stdout.write(f"- {one['text']}; to mend it: {one['mend']}\n")
        sys.stdout.write(f"container engine: {engine}\n")
    return EXIT_DONE if enough else EXIT_FAILED
