"""The health gate: would a caller get an answer from this node?

Run on the node by any Python 3: URL, the address to connect to, the file with the keys,
the authority's certificate, and how long to try. It calls as a caller does: with TLS,
for the name in the URL, with the fleet's authority. An action is put and invoked, cold
and then warm, and once more as an event that is accepted now and run later.
"""

import base64
import contextlib
import http.client
import json
import os
import socket
import ssl
import sys
import time
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

CODE = "def main(args):\n    return {'sum': args['a'] + args['b']}\n"
ACTION = "/api/v1/namespaces/whisk.system/actions/edgewhisk-gate"
# One of so many invocations has to find its sandbox warm.
TRIES = 5


class Gate:
    def __init__(self, url, address, keys, authority):
        self.parts = urlsplit(url)
        self.address = address
        self.authority = authority
        known = json.loads(Path(keys).read_text()) if Path(keys).exists() else {}
        self.key = known.get("whisk.system", [""])[0]

    def ask(self, method, path, body=None):
        """Status and document, on a connection of its own."""
        port = self.parts.port or {"http": 80, "https": 443}[self.parts.scheme]
        stream = socket.create_connection((self.address, port), timeout=30)
        if self.parts.scheme == "https":
            context = ssl.create_default_context(cadata=self.authority)
            stream = context.wrap_socket(stream, server_hostname=self.parts.hostname)
        connection = http.client.HTTPConnection(self.parts.hostname, port)
        connection.sock = stream
        token = base64.b64encode(self.key.encode()).decode()
        headers = {
            "Authorization": f"Basic {token}",
            "Content-Type": "application/json",
        }
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        try:
            return answer.status, json.loads(text or b"null")
        except ValueError:
            return answer.status, text.decode(errors="replace")

    def must(self, method, path, body=None):
        status, answer = self.ask(method, path, body)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            place = path.partition("?")[0]
            raise SystemExit(f"{method} {place}: {status} {str(answer)[:300]}")
        return answer

    def wait_until_it_answers(self, seconds):
        until = time.monotonic() + seconds
        while True:
            try:
                return self.must("GET", "/ping")
            except ssl.SSLError as error:
                raise SystemExit(f"the certificate is refused: {error}") from error
            except OSError as error:
                if time.monotonic() > until:
                    raise SystemExit(f"no answer: {error}") from error
            time.sleep(0.5)

    def invoke(self):
        """What it answers must be right, and soon its sandbox be found warm."""
        node = self.must("GET", "/edge/v1/node")
        kinds = [kind for kind in node.get("kinds", []) if kind.startswith("python")]
        if not kinds:
            raise SystemExit("no Python for actions: sudo apt-get install python3")
        code = {"exec": {"kind": "python:default", "code": CODE}}
        self.must("PUT", f"{ACTION}?overwrite=true", code)
        # A busy node may need the first sandbox's memory for another action at once.
        if not any(self._was_warm(a) for a in range(TRIES)):
            raise SystemExit(f"each of {TRIES} invocations began cold, none was warm")

    def _was_warm(self, a):
        record = self.must("POST", f"{ACTION}?blocking=true", {"a": a, "b": 3})
        if record.get("response", {}).get("result") != {"sum": a + 3}:
            raise SystemExit(f"an action answered {str(record)[:300]}")
        return all(one["key"] != "initTime" for one in record.get("annotations", []))

    def see_the_inbox_drain(self, seconds):
        """An accepted event has to be run; behind many others, some of those.

        What waits for its next attempt, or for its turn, holds up nothing else: so an
        event of our own comes through, or what is before it becomes less.
        """
        record = self._accept()
        until = time.monotonic() + seconds
        before, drained = self._waiting(), 0
        while not record or self.ask("GET", record)[0] != HTTPStatus.OK:
            now = self._waiting()
            drained += max(0, before - now)
            late = time.monotonic() > until
            if drained and (late or not record):
                return
            if late:
                raise SystemExit(f"{now} accepted events wait and none is run")
            before = now
            time.sleep(0.1)

    def _accept(self):
        """Where the record of an event will be; "" when the inbox is full."""
        status, answer = self.ask("POST", ACTION, {"a": 1, "b": 1})
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return ""
        if status != HTTPStatus.ACCEPTED:
            raise SystemExit(f"an event is not accepted: {status} {str(answer)[:300]}")
        return f"/api/v1/namespaces/_/activations/{answer['activationId']}"

    def _waiting(self):
        store = self.must("GET", "/edge/v1/node").get("store", {})
        if store.get("failure"):
            raise SystemExit(f"the store fails: {store['failure']}")
        return store.get("inbox", 0)


def main():
    url, address, keys, authority, seconds = sys.argv[1:]
    gate = Gate(url, address, keys, authority)
    gate.wait_until_it_answers(float(seconds))
    if gate.key:
        try:
            gate.invoke()
            gate.see_the_inbox_drain(float(seconds))
        finally:
            with contextlib.suppress(OSError):
                gate.ask("DELETE", ACTION)


os.umask(0o077)
main()
