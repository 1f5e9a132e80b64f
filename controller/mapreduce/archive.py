"""A Python action as an archive: `__main__.py`, and what it needs beside it."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Mapping, Sequence

#: So that the same content is the same archive: nodes know code by its digest.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def archive(files: Mapping[str, bytes], *, requirements: Sequence[str] = ()) -> str:
    """Base64, as OpenWhisk takes it; `requirements.txt` tells a node what to install.

    Args:
        files: by their names in the archive.
        requirements: the lines of `requirements.txt`; without any it is left out.
    """
    if requirements:
        files = {**files, "requirements.txt": "\n".join([*requirements, ""]).encode()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            zipped.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return base64.b64encode(packed.getvalue()).decode()
