"""The actions that the scenarios call, each in both languages every host has one of.

The JavaScript is ES5 with promises: the oldest hosts only have Node 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One action as source text; `name` is its part of the deployed name."""

    name: str
    python: str
    nodejs: str

    def of(self, family: str) -> str:
        sources: Mapping[str, str] = {"python": self.python, "nodejs": self.nodejs}
        return sources[family]


FAMILIES = ("python", "nodejs")

#: {"ms": 30} -> {"ms": 30}, that much later.
SLEEP = Source(
    name="sleep",
    python="""\
import time

def main(params):
    time.sleep(params["ms"] / 1000)
    return {"ms": params["ms"]}
""",
    nodejs="""\
function main(params) {
  return new Promise(function (resolve) {
    setTimeout(function () { resolve({ ms: params.ms }); }, params.ms);
  });
}
""",
)

#: {"data": "..."} -> {"data": "..."}; parameters bound to the namespace stay out.
ECHO = Source(
    name="echo",
    python="""\
def main(params):
    return {"data": params["data"]} if "data" in params else {}
""",
    nodejs="""\
function main(params) {
  return { data: params.data };
}
""",
)

#: {} -> {"hello": "world"}
HELLO = Source(
    name="hello",
    python="""\
def main(params):
    return {"hello": "world"}
""",
    nodejs="""\
function main(params) {
  return { hello: 'world' };
}
""",
)
