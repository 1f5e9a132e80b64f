"""A real browser, driven by the protocol of its developer tools."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--remote-debugging-port=0"),
)
START_S, WAIT_S = 30.0, 20.0


class Page:
    """One tab; `complaints` are what it wrote to the console."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            elif told["method"] in {"Runtime.exceptionThrown", "Log.entryAdded"}:
                self.complaints.append(json.dumps(told["params"]))
            elif told["method"] == "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(told["params"]["args"]))

    async def send(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        told = {"id": number, "method": method, "params": params}
        await self._socket.send_json(told)
        return (await asyncio.wait_for(answer, WAIT_S)).get("result", {})

    async def run(self, script: str) -> Any:
        """The value of a script."""
        told = await self.send("Runtime.evaluate", expression=script, awaitPromise=True)
        return told["result"].get("value")

    async def until(self, script: str) -> Any:
        """The value of a script once it is true."""
        deadline = time.monotonic() + WAIT_S
        while not (value := await self.run(script)):
            assert time.monotonic() < deadline, await self.run(
                "document.body.innerText"
            )
            await asyncio.sleep(0.1)
        return value

    async def picture(self, place: Path, width: int) -> None:
        """Also of a phone's width; the file is for people to look at."""
        size = {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        shot = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(place.write_bytes, base64.b64decode(shot["data"]))


Open = Callable[[str], Awaitable[Page]]


@pytest.fixture
async def browse(tmp_path: Path) -> AsyncIterator[Open]:
    """Called with an address, awaited: a page."""
    program = shutil.which("chromium") or "chromium"
    process = await asyncio.create_subprocess_exec(
        *(program, *OPTIONS, f"--user-data-dir={tmp_path / 'browser'}"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(_end, process)
        async with asyncio.timeout(START_S):
            while not (
                found := re.search(rb"ws://([^/]+)/", await process.stderr.readline())
            ):
                pass
        session = await stack.enter_async_context(aiohttp.ClientSession())
        address = f"http://{found[1].decode()}/json/new?about:blank"

        async def browse(url: str) -> Page:
            async with session.put(address) as answer:
                tab = json.loads(await answer.text())
            socket = await session.ws_connect(
                tab["webSocketDebuggerUrl"], max_msg_size=0
            )
            page = Page(socket)
            listening = asyncio.create_task(page.listen(), name="listen")
            stack.push_async_callback(_stop, listening, socket)
            for domain in ("Runtime", "Log", "Page"):
                await page.send(f"{domain}.enable")
            await page.send("Page.navigate", url=url)
            return page

        yield browse


async def _stop(
    listening: asyncio.Task[None], socket: aiohttp.ClientWebSocketResponse
) -> None:
    await socket.close()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await asyncio.wait_for(process.communicate(), WAIT_S)
