"""The yardstick: the least that an HTTP server on this machine and stack can do.

    python -m controller.bench.echo

JSON comes in by POST, is decoded, encoded and sent back, by aiohttp on uvloop without
an access log. It prints `{"url", "pid"}` and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from aiohttp import web

BODY_BYTES = 4 << 20


async def echo(request: web.Request) -> web.Response:
    return web.json_response(await request.json())


async def serve() -> None:
    app = web.Application(client_max_size=BODY_BYTES)
    app.router.add_post("/", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    said = {"url": f"http://127.0.0.1:{port}/", "pid": os.getpid()}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    try:
        import uvloop  # noqa: PLC0415 a part of the agent's extra only
    except ImportError:
        asyncio.run(serve())
    else:
        uvloop.run(serve())


if __name__ == "__main__":
    main()
