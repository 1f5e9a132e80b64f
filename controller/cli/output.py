"""What a person and what a script sees.

stdout is the answer, stderr the talk: `edgectl ... | jq` never meets a progress bar.
With `--json` the answer is one JSON document. Tables are drawn on a terminal and are
plain lines, their cells apart by tabs, anywhere else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import msgspec

_GREEN, _YELLOW, _RED, _DIM, _PLAIN = (
    "\x1b[32m",
    "\x1b[33m",
    "\x1b[31m",
    "\x1b[2m",
    "\x1b[0m",
)


@dataclass(frozen=True, slots=True)
class Output:
    """`json`: the user asked for one JSON document."""

    json: bool = False

    def ok(self, text: str) -> None:
        talk("ok: ", text, colour=_GREEN)

    def say(self, text: str) -> None:
        talk("", text)

    def warn(self, text: str) -> None:
        talk("warning: ", text, colour=_YELLOW)

    def error(self, text: str) -> None:
        """What failed, where the rest goes on; the exit code is the caller's."""
        complain(text)

    def hint(self, text: str) -> None:
        """What to do next; only for a person."""
        if on_terminal(sys.stderr):
            talk("", text, colour=_DIM)

    def document(self, value: Any) -> None:
        """JSON on stdout: indented for a person, one line for `--json`."""
        text = msgspec.json.encode(value)
        if self.json and not on_terminal(sys.stdout):
            write(text.decode())
        elif on_terminal(sys.stdout):
            _highlight(msgspec.json.format(text, indent=2).decode())
        else:
            write(msgspec.json.format(text, indent=2).decode())

    def text(self, text: str) -> None:
        """The answer as plain text."""
        write(text)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, document: Any
    ) -> None:
        """Rows for a person, lines for a pipe, or `document` with `--json`."""
        if self.json:
            self.document(document)
        elif on_terminal(sys.stdout):
            _draw(columns, rows)
        else:
            for row in rows:
                write("\t".join(row))


def write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def talk(mark: str, text: str, *, colour: str = "") -> None:
    """One line on stderr; `mark` (all of it when there is none) in colour."""
    if colour and _coloured(sys.stderr):
        line = f"{colour}{mark or text}{_PLAIN}{text if mark else ''}"
    else:
        line = f"{mark}{text}"
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    talk("error: ", text, colour=_RED)


def on_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _coloured(stream: TextIO) -> bool:
    return on_terminal(stream) and not os.environ.get("NO_COLOR")


def _highlight(text: str) -> None:
    from rich.console import Console

    Console(soft_wrap=True).print_json(text)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper(), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
