"""Does the standalone OpenWhisk answer, with our keys alone, and does an action run?

Run on the node by any Python 3: URL, the configuration (it has the keys), how long to
wait for the API and for an action, and the action's kind ("": none is run).
"""

import base64
import json
import re
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

NODEJS = "function main(args) { return {sum: args.a + args.b}; }\n"
PYTHON = "def main(args):\n    return {'sum': args['a'] + args['b']}\n"
ACTION = "/api/v1/namespaces/_/actions/edgewhisk-gate"
# Upstream's own, which everybody knows.
PUBLIC = (
    "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:"
    "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"
)


class Api:
    def __init__(self, url, key):
        self.url = url
        self.key = key

    def ask(self, method, path, body=None, key=None, timeout=30):
        """Status and document; OSError when nobody answers."""
        token = base64.b64encode((key or self.key).encode()).decode()
        headers = {
            "Authorization": f"Basic {token}",
            "Content-Type": "application/json",
        }
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 an URL of ours
            self.url + path, content, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                return answer.status, _document(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _document(error.read())

    def must(self, method, path, body=None, timeout=30):
        status, answer = self.ask(method, path, body, timeout=timeout)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise SystemExit(f"{method} {path}: {status} {str(answer)[:300]}")
        return answer


def _document(text):
    try:
        return json.loads(text or b"null")
    except ValueError:
        return text.decode(errors="replace")


def wait_until_it_answers(api, seconds):
    until = time.monotonic() + seconds
    while True:
        try:
            status, _ = api.ask("GET", "/api/v1/namespaces", timeout=5)
        except OSError as error:
            status, said = 0, str(error)
        else:
            said = f"status {status}"
        if status == HTTPStatus.OK:
            return
        if time.monotonic() > until:
            raise SystemExit(f"no answer within {seconds:g} s ({said})")
        time.sleep(1)


def refuse_the_public_key(api):
    status, _ = api.ask("GET", "/api/v1/namespaces", key=PUBLIC)
    if status != HTTPStatus.UNAUTHORIZED:
        raise SystemExit("it takes the key that upstream publishes; it is not used")


def invoke(api, kind, seconds):
    code = NODEJS if kind.startswith("nodejs") else PYTHON
    api.must("PUT", f"{ACTION}?overwrite=true", {"exec": {"kind": kind, "code": code}})
    try:
        record = api.must(
            "POST", f"{ACTION}?blocking=true", {"a": 1, "b": 3}, timeout=seconds
        )
        if record.get("response", {}).get("result") != {"sum": 4}:
            raise SystemExit(f"an action of {kind} answered {str(record)[:300]}")
    finally:
        api.ask("DELETE", ACTION)


def main():
    url, configuration, seconds, action_seconds, kind = sys.argv[1:]
    key = re.search(r'^ *guest = "(.+)"', Path(configuration).read_text(), re.MULTILINE)
    api = Api(url, key[1])
    wait_until_it_answers(api, float(seconds))
    refuse_the_public_key(api)
    if kind:
        invoke(api, kind, float(action_seconds))


main()
