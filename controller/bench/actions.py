"""The actions that the figures are measured with, and their arguments."""

from __future__ import annotations

import json

HELLO = """\
def main(params):
    return {"greeting": "Hello, " + params["name"]}
"""
SLEEP = """\
import time

def main(params):
    time.sleep(params["ms"] / 1000)
    return {"ms": params["ms"]}
"""
ECHO = """\
def main(params):
    return {"data": params["data"]}
"""

HELLO_BODY = json.dumps({"name": "bench"}).encode()
SLEEP_MS = 30
SLEEP_BODY = json.dumps({"ms": SLEEP_MS}).encode()


def data_body(size_bytes: int) -> bytes:
    """`{"data": "..."}` of exactly that size."""
    empty = len(json.dumps({"data": ""}))
    return json.dumps({"data": "x" * (size_bytes - empty)}).encode()
