"""A host that answers like OpenWhisk and can be as bad as a test wants.

    python -m controller.loadtest.fake --slots 1 --service-ms 5 --fail 0.1 --stall 1

Prints {"url"} on a line and serves until SIGTERM. Calls wait for one of
`slots`, take `service_ms`, and every tenth fails with `--fail 0.1`. During the stall,
which begins `stall-at` seconds after the first call of a run (a run begins by putting
its action), nobody is answered. Any key is taken; an echo gives back what it was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
import time

from aiohttp import web


class FakeHost:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._slots = asyncio.Semaphore(options.slots)
        self._numbers = itertools.count(1)
        self._first: float | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=4 << 20)
        app.router.add_get("/", self._info)
        app.router.add_route("*", "/edge/v1/{rest:.*}", self._nothing)
        app.router.add_get("/api/v1/namespaces/_/actions", self._empty)
        app.router.add_put("/api/v1/namespaces/_/actions/{name}", self._put)
        app.router.add_delete("/api/v1/namespaces/_/actions/{name}", self._delete)
        app.router.add_post("/api/v1/namespaces/_/actions/{name}", self._invoke)
        return app

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response({"runtimes": {"python": [{"kind": "python:3.11"}]}})

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.json_response({"error": "not here", "code": "x"}, status=404)

    async def _empty(self, _: web.Request) -> web.Response:
        return web.json_response([])

    async def _put(self, request: web.Request) -> web.Response:
        await request.read()
        self._first = None
        return web.json_response({})

    async def _delete(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _invoke(self, request: web.Request) -> web.Response:
        arguments = json.loads(await request.read())
        if "result" in request.query:  # a scenario warms its sandbox
            return web.json_response(arguments)
        number, came = next(self._numbers), time.monotonic()
        self._first = self._first or came
        async with self._slots:
            waited_ms = round((time.monotonic() - came) * 1000)
            await self._stalled()
            await asyncio.sleep(self._options.service_ms / 1000)
        if self._options.fail and number % round(1 / self._options.fail) == 0:
            return web.json_response({"error": "out of order"}, status=500)
        return web.json_response(self._record(arguments, waited_ms))

    async def _stalled(self) -> None:
        options = self._options
        left = (self._first or 0) + options.stall_at + options.stall - time.monotonic()
        if 0 < left <= options.stall:
            await asyncio.sleep(left)

    def _record(self, result: object, waited_ms: int) -> dict[str, object]:
        return {
            "activationId": "0" * 32,
            "annotations": [{"key": "waitTime", "value": waited_ms}],
            "duration": round(self._options.service_ms),
            "response": {"status": "success", "success": True, "result": result},
        }


async def main(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--service-ms", type=float, default=2.0)
    parser.add_argument("--fail", type=float, default=0.0)
    parser.add_argument("--stall-at", type=float, default=2.0)
    parser.add_argument("--stall", type=float, default=0.0)
    app = FakeHost(parser.parse_args()).app()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    await stopping.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(argparse.ArgumentParser(prog="controller.loadtest.fake")))
