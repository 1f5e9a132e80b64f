"""How long the first call of an action takes: nothing is warm, nothing is kept.

Each call is one of an action that was put just before and is deleted right after. The
host says whether it was cold (`initTime`); calls that were not have a line of their
own. What a bigger package costs:

    locust -f loadtests ColdstartUser --headless -t 60s --package-bytes 0,1024000
"""

from __future__ import annotations

import base64
import io
import secrets
import zipfile
from functools import cache
from itertools import count, cycle
from operator import eq
from typing import Any

from _actions import HELLO
from _entities import entity_name
from _openwhisk import Host
from _payloads import size_text
from _target import TargetError
from _user import ActionUser

RESULT = {"hello": "world"}
MAIN = {"python": "__main__.py", "nodejs": "index.js"}


class ColdstartUser(ActionUser):
    def on_start(self) -> None:
        self._numbers = count()
        self._tag = secrets.token_hex(3)
        self._sizes = cycle(self.options.package_bytes or (0,))

    def one(self, due: float | None) -> None:
        size, host = next(self._sizes), Host(self.target)
        action = f"cold-{self._tag}-{next(self._numbers)}"
        name = entity_name(action, self.options)
        try:
            executable = _executable(self.options.family, size)
            host.put("actions", name, {"exec": executable})
        except TargetError as error:
            self.report("coldstart put", 0, error=str(error))
            return
        try:
            self._first(action, size, due)
        finally:
            host.delete("actions", name)

    def _first(self, action: str, size: int, due: float | None) -> None:
        name = f"coldstart {self.options.family} {size_text(size)}"
        record = self.invoke(action, b"{}", name=name, whole=_hello, due=due)
        if record is not None and not record.times.cold:
            self.report(f"{name}, but warm", record.times.run_ms or 0)
        elif record is not None:
            self.report(f"{name}, init alone", record.times.init_ms or 0)


def _hello(result: Any) -> bool:
    return eq(result, RESULT)


@cache
def _executable(family: str, padding: int) -> dict[str, Any]:
    """The action as source, or with so many bytes beside it as a zip."""
    kind = f"{family}:default"
    if not padding:
        return {"kind": kind, "code": HELLO.of(family)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as package:
        code = HELLO.of(family)
        package.writestr(MAIN[family], code + _EXPORT.get(family, ""))
        package.writestr("padding.bin", secrets.token_bytes(padding))
    code = base64.b64encode(buffer.getvalue()).decode()
    return {"kind": kind, "code": code, "binary": True}


_EXPORT = {"nodejs": "exports.main = main;\n"}
