"""Lines to a launcher, and pipes that never block."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from edge_agent.sandbox.base import RunRequest

encode = msgspec.json.Encoder().encode


def run_line(request: RunRequest) -> tuple[bytes, ...]:
    """`{"value":<arguments>,...}`: the arguments are passed through, not copied."""
    arguments = request.arguments
    if b"\n" in arguments:  # in JSON text only between tokens
        arguments = arguments.replace(b"\n", b" ")
    if not request.context:
        return b'{"value":', arguments, b"}\n"
    return b'{"value":', arguments, b",%b\n" % encode(request.context)[1:]


def write_some(fd: int, pieces: Sequence[bytes | memoryview]) -> int | None:
    """How much the pipe took; None when nobody reads there any more."""
    try:
        return os.writev(fd, pieces)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return None


def read_some(fd: int, size: int) -> bytes | None:
    """Empty at the end of the stream, None when there is nothing now."""
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return None
