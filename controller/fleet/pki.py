"""The fleet's authority, as `edgectl deploy` keeps it beside the inventory.

pki/ca.pem    its certificate, which edgectl trusts without being asked
pki/ca.key    its key, for its owner alone
pki/HOST.pem  a node's certificate, with HOST.key
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

FOLDER = "pki"
CA = "ca.pem"


def find_ca(inventory: Path) -> Path | None:
    """The authority's certificate of the fleet in `inventory`, if it has one."""
    folder = inventory if inventory.is_dir() else inventory.parent
    found = folder / FOLDER / CA
    return found if found.is_file() else None


def ssl_for(*, ca: Path | None, insecure: bool) -> ssl.SSLContext | bool:
    """What aiohttp calls `ssl`: the system's authorities are always trusted too."""
    if insecure:
        return False
    return True if ca is None else _context(ca, ca.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _context(ca: Path, _changed_ns: int) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(ca)
    return context
