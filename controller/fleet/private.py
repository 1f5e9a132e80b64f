"""Files that hold keys, or what people wrote: replaced in one step or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_MODE = 0o600


def write_private(path: Path, text: str) -> None:
    """Replace the file; where it is a link, what it points to.

    A file that is there keeps its mode, a new one is its owner's alone.
    """
    real = path.resolve()
    mode = real.stat().st_mode & 0o777 if real.exists() else _MODE
    descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(real)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
