"""Serves several activations of `async def main` at once; see `sandbox/many.py`.

Imported by the launcher when it is needed: asyncio is 30 ms of a start. Each activation
is a task, and what it prints is told apart by the task's context.
"""

# ruff: noqa: ANN001, ANN201, ANN202, ANN204
# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="attr-defined"

import asyncio
import contextvars
import io
import posix
import sys

#: The activation that runs: 0 outside of them all.
TAG = contextvars.ContextVar("activation", default=0)
LONGEST = 1 << 13
ANSWERED = 1 << 16


class Stream(io.TextIOBase):
    """Sends whole lines with the tag of their activation; others go as ever."""

    def __init__(self, sign, otherwise, send):
        super().__init__()
        self.sign = sign
        self.otherwise = otherwise
        self.send = send
        self.kept = {}

    encoding = "utf-8"

    def writable(self):
        return True

    def fileno(self):
        return self.otherwise.fileno()

    def write(self, text):
        tag = TAG.get()
        if not tag:
            return self.otherwise.write(text)
        kept = self.kept.get(tag, "") + text
        end = len(kept) if len(kept) > LONGEST else kept.rfind("\n") + 1
        self.kept[tag] = kept[end:]
        if end:
            self.send(self.sign, tag, kept[:end])
        return len(text)

    def flush(self):
        self.otherwise.flush()

    def finish(self, tag):
        if kept := self.kept.pop(tag, ""):
            self.send(self.sign, tag, kept)


class Server:
    """`launcher` has the launcher's functions; `main` is the action's."""

    def __init__(self, launcher, main):
        self.launcher = launcher
        self.main = main
        self.buffer = bytearray()
        self.tasks = set()
        self.streams = [
            Stream("o", sys.stdout, self.log),
            Stream("e", sys.stderr, self.log),
        ]
        sys.stdout, sys.stderr = self.streams

    async def serve(self):
        self.closed = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.launcher.REQUESTS, self.on_request)
        await self.closed.wait()

    def on_request(self):
        chunk = posix.read(self.launcher.REQUESTS, ANSWERED)
        if not chunk:
            self.closed.set()
            return
        self.buffer += chunk
        *lines, rest = self.buffer.split(b"\n")
        self.buffer = rest
        for line in lines:
            self.begin(bytes(line))

    def begin(self, line):
        tag, _, text = line.partition(b" ")
        task = asyncio.get_running_loop().create_task(self.run(int(tag), text))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, tag, text):
        TAG.set(tag)
        request = self.launcher.loads(text.decode())
        arguments = request.pop("value", {})
        self.launcher.tell(request)
        try:
            result = await self.main(arguments)
        except MemoryError:
            self.launcher.leave_out_of_memory()
        except Exception as error:
            self.launcher.print_exception(error)
            result = {"error": str(error)}
        status, body = self.launcher.judge(result)
        for stream in self.streams:
            stream.finish(tag)
        self.launcher.flush()
        self.launcher.answer(f"{status}{tag} ", body)

    def log(self, sign, tag, text):
        self.launcher.answer(f"{sign}{tag} ", self.launcher.dumps([text])[1:-1])


def serve(launcher, main):
    """Until the agent closes its end."""
    asyncio.run(Server(launcher, main).serve())


def waiting(main):
    """A plain function of a coroutine function; its loop lives between activations."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    def run(arguments):
        return loop.run_until_complete(main(arguments))

    return run
