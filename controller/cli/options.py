"""Options that several commands share, and the words for their results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from controller.fleet.target import Target

Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        metavar="KEY VALUE",
        help="A parameter; JSON values are taken as JSON. Repeatable.",
    ),
]
ParamFile = Annotated[
    Path | None,
    typer.Option(
        "--param-file",
        "-P",
        metavar="FILE",
        help="Parameters from a JSON file ('-' is stdin).",
    ),
]
Annotations = Annotated[
    list[str] | None,
    typer.Option(
        "--annotation",
        "-a",
        metavar="KEY VALUE",
        help="An annotation. Repeatable.",
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", "-l", min=1, help="At most so many, newest first.")
]


def where(targets: Iterable[Target]) -> str:
    """` on node1, node2`; empty for a single target without a name of its own."""
    names = [t.name for t in targets if t.name]
    return f" on {', '.join(names)}" if names else ""


def created_or_updated(version: str) -> str:
    return "created" if version == "0.0.1" else "updated"
