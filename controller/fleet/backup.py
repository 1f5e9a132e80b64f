"""A node's backup, fetched into a file that is there as a whole or not at all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp

from controller.fleet.client import Client
from controller.fleet.target import basic
from controller.fleet.transport import OpenWhiskError, Reply

CHUNK_BYTES = 256 << 10
#: The node copies its store first; then something must come all the time.
ANSWER_TIMEOUT_S = 600.0
STALLED_S = 60.0
_DONE = 200
_ENDING = ".part"


async def fetch_backup(client: Client, place: Path) -> int:
    """Write it to `place`, for its owner alone; its size in bytes.

    Raises:
        OpenWhiskError: the node refuses, or what came is not all.
        OSError: the file cannot be written.
    """
    part = place.with_name(place.name + _ENDING)
    descriptor = await asyncio.to_thread(_open, part)
    try:
        size = await _receive(client, descriptor)
        await asyncio.to_thread(_keep, descriptor, part, place)
    finally:
        await asyncio.to_thread(_close, descriptor, part)
    return size


def _open(part: Path) -> int:
    return os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)


def _keep(descriptor: int, part: Path, place: Path) -> None:
    os.fsync(descriptor)
    part.replace(place)


def _close(descriptor: int, part: Path) -> None:
    os.close(descriptor)
    part.unlink(missing_ok=True)


async def _receive(client: Client, descriptor: int) -> int:
    target = client.target
    key = target.system_key or target.key
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_read=STALLED_S)
    size = 0
    try:
        async with client.session.get(
            f"{target.url}/edge/v1/backup",
            headers={"Authorization": basic(key)},
            timeout=timeout,
        ) as answer:
            if answer.status != _DONE:
                raise Reply(answer.status, await answer.read()).refusal()
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                size += await asyncio.to_thread(os.write, descriptor, chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        text = f"{target.url}: the backup broke off: {reason}"
        raise OpenWhiskError(0, text) from error
    return size
