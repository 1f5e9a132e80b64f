"""What a deployment does, while it does it, on stderr.

A line for each change and each failure; on a terminal also the task that runs.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from controller.cli.output import on_terminal, talk
from controller.deploy.events import Diff, Event, Failed, Ok, TaskBegins, Unreachable
from controller.deploy.reasons import reason_failed, reason_unreachable

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Show events until left."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if on_terminal(sys.stderr):
            from rich.console import Console

            status = Console(stderr=True).status("connecting")
            self._status = self._stack.enter_context(status)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def show(self, event: Event) -> None:
        match event:
            case TaskBegins(task=task) if self._status is not None:
                self._status.update(bare(task))
            case Ok(changed=True):
                talk("", f"{event.host}: changed: {bare(event.task)}")
            case Diff():
                talk("", f"{event.host}: {bare(event.task)}\n{event.text.rstrip()}")
            case Failed(ignored=False):
                reason = reason_failed(event.task, event.text, event.stderr)
                talk("", f"{event.host}: FAILED: {reason}")
            case Unreachable():
                talk("", f"{event.host}: {reason_unreachable(event.text)}")
            case _:
                pass


def bare(task: str) -> str:
    """`edge_agent : Write the settings` -> `Write the settings`."""
    return task.rpartition(" : ")[2]
