"""Reaching the subjects of a node from its own machine, whether it runs or not.

The one who may use the data folder is its admin. Of a running node the folder tells the
address (`served.json`), the database and the node key together the system key. When
nobody holds the folder's lock, the same use cases work on the store itself.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edge_agent.engine.limits import Limits
from edge_agent.engine.subjects import Subjects
from edge_agent.model.errors import EdgeWhiskError, SettingsError
from edge_agent.model.names import SYSTEM_NAMESPACE
from edge_agent.settings import Settings
from edge_agent.store.store import DATABASE, NODE_KEY, Store, is_locked
from edge_agent.store.subjects import read_key

SERVED = "served.json"
TIMEOUT_S = 30.0
_BAD_REQUEST = 400
_MULTIPLE_CHOICES = 300


class AdminError(EdgeWhiskError):
    """It was not done; `wrong` is true when it cannot be as it was asked for."""

    def __init__(self, text: str, *, wrong: bool = False) -> None:
        super().__init__(text)
        self.wrong = wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One thing to be done, in both of its ways; the answer has the type `answer`."""

    method: str
    path: str
    body: Any = None
    offline: Callable[[Subjects], Awaitable[Any]]
    answer: Any


def tell_served(folder: Path, url: str) -> None:
    """Leave word where this folder's agent is to be found."""
    file = folder / SERVED
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        json.dump({"url": url, "pid": os.getpid()}, opened)


def do(work: Work, settings: Settings) -> Any:
    """Do it on the running node, or on the store of one that does not run.

    Raises:
        AdminError: it was refused. SettingsError: the folder cannot be used.
    """
    folder = Path.cwd() / settings.data_dir
    _become_owner(folder)
    if is_locked(folder):
        return _do_running(work, folder)
    return asyncio.run(_do_offline(work, settings, folder))


def _become_owner(folder: Path) -> None:
    """Root would leave files there that the agent may not open."""
    if os.geteuid() != 0 or not folder.exists():
        return
    status = folder.stat()
    if status.st_uid == 0:
        return
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)


async def _do_offline(work: Work, settings: Settings, folder: Path) -> Any:
    async with Store(folder, settings.store) as store:
        own = (settings.namespace, SYSTEM_NAMESPACE)
        return await work.offline(Subjects(store, Limits(settings.limits), own=own))


def _do_running(work: Work, folder: Path) -> Any:
    try:
        url = json.loads((folder / SERVED).read_text())["url"]
        key = read_key(folder / DATABASE, folder / NODE_KEY, SYSTEM_NAMESPACE)
    except (OSError, ValueError, KeyError) as error:
        text = f"data_dir: {folder} is in use, and the agent cannot be found: {error}"
        raise SettingsError(text) from error
    status, answer = _ask(work, url, key)
    if status >= _MULTIPLE_CHOICES:
        raise AdminError(_error(answer), wrong=status == _BAD_REQUEST)
    return msgspec.json.decode(answer, type=work.answer) if answer else None


def _ask(work: Work, url: str, key: str) -> tuple[int, bytes]:
    headers = {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"}
    body = None if work.body is None else msgspec.json.encode(work.body)
    if body is not None:
        headers["Content-Type"] = "application/json"
    place = f"/edge/v1/{work.path}"
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    try:
        connection.request(work.method, place, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError as error:
        raise AdminError(f"{url}: no answer: {error}") from error
    finally:
        connection.close()


def _error(text: bytes) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace")
