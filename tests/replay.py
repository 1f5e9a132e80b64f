"""Replay recorded exchanges against an OpenWhisk API host and say what differs.

The exchanges (tests/data/openwhisk-exchanges.json) were recorded from the real Apache
OpenWhisk standalone; each cites the rows of the contract it shows. In them `"*"` as a
value matches anything and inside a string any characters; the order of annotations,
parameters and log entries is free, `initTime` may be there or not, and `size` counts
the runtime's own bytes.

Against any host: `python tests/replay.py URL KEY SYSTEM_KEY [NAME...]`.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

EXCHANGES = Path(__file__).parent / "data" / "openwhisk-exchanges.json"
POLL_S = 5.0
POLL_PAUSE_S = 0.05
TIMEOUT_S = 90.0
#: Headers of which one that is not in the recording must not be in the answer.
WATCHED = re.compile(
    r"content-type|www-authenticate|allow|location|access-control-.*"
    r"|x-openwhisk-activation-id"
)
#: Annotations of ours that upstream does not have, or has only on a cold start.
FREE_ANNOTATIONS = frozenset(("initTime", "isolation", "attempts"))
JSON_TYPE = re.compile(r"application/([^;]*\+)?json")
_REFERENCE = re.compile(r"\{([^{}]+)\.activationId\}")

Exchange = Mapping[str, Any]


def load_exchanges(path: Path = EXCHANGES) -> list[Exchange]:
    return json.loads(path.read_text())


@dataclass(slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: Any


@dataclass(slots=True)
class Outcome:
    """What one exchange came to: skipped for a reason, or the list of differences."""

    name: str
    skipped: str = ""
    problems: list[str] = field(default_factory=list)


class Replayer:
    """Runs exchanges in order; remembers the activation ids that were answered."""

    def __init__(self, url: str, *, guest: str, other: str) -> None:
        self._host = urlsplit(url).netloc
        self._authorization = {
            "guest": _basic(guest),
            "other": _basic(other),
            "wrong-secret": _basic(f"{guest[:-4]}XXXX"),
            "unknown": _basic(f"00000000-0000-4000-8000-000000000000:{'a' * 64}"),
            "malformed": _basic("bob:pw"),
        }
        self._activation_ids: dict[str, str] = {}

    def run(self, exchange: Exchange) -> list[str]:
        """Send it and return the differences."""
        time.sleep(exchange.get("wait_s", 0))
        # Records are written a moment after the answer, those of sleepers later.
        late = exchange.get("poll") or "/activations?" in exchange["request"]["path"]
        deadline = time.monotonic() + (POLL_S if late else 0)
        problems = self._once(exchange)
        while problems and time.monotonic() < deadline:
            time.sleep(POLL_PAUSE_S)
            problems = self._once(exchange)
        return problems

    def _once(self, exchange: Exchange) -> list[str]:
        request, times = exchange["request"], exchange.get("repeat", 1)
        earlier = {str(self._send(request).status) for _ in range(times - 1)}
        answer = self._send(request)
        self._remember(exchange["name"], answer)
        problems = [*compare(exchange, answer)]
        allowed = set(exchange.get("earlier_statuses", ()))
        if earlier - allowed:
            problems.append(f"earlier statuses {sorted(earlier)}, not {allowed}")
        return problems

    def _send(self, request: Mapping[str, Any]) -> Answer:
        path = _REFERENCE.sub(
            lambda found: self._activation_ids.get(found[1], "0" * 32), request["path"]
        )
        body = _body(request)
        headers = {"Accept": "*/*"}
        authorization = self._authorization.get(request["auth"])
        if authorization is not None:
            headers["Authorization"] = authorization
        if "body" in request or (
            "generated" in request and "Content-Type" not in request.get("headers", {})
        ):
            headers["Content-Type"] = "application/json"
        headers.update(request.get("headers", {}))
        return self._exchange(request["method"], path, headers, body)

    def _exchange(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> Answer:
        connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_S)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            # Refused before all of it was sent? Then the answer is waiting.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.endheaders(body)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        listed = [(name.lower(), value) for name, value in response.getheaders()]
        return Answer(response.status, listed, _read(text, dict(listed)))

    def _remember(self, name: str, answer: Answer) -> None:
        found = dict(answer.headers).get("x-openwhisk-activation-id")
        if found is None and isinstance(answer.body, dict):
            found = answer.body.get("activationId")
        if found is not None:
            self._activation_ids[name] = found


def replay(
    exchanges: Iterable[Exchange],
    replayer: Callable[[Exchange], Replayer],
    skip: Callable[[Exchange], str],
) -> dict[str, Outcome]:
    """Run all that `skip` gives no reason against, nor against what they build on."""
    outcomes: dict[str, Outcome] = {}
    for exchange in exchanges:
        name = exchange["name"]
        reason = skip(exchange)
        if not reason:
            missing = [s for s in exchange.get("setup", ()) if outcomes[s].skipped]
            reason = f"needs {missing[0]}" if missing else ""
        outcome = outcomes[name] = Outcome(name, skipped=reason)
        if not reason:
            outcome.problems = replayer(exchange).run(exchange)
    return outcomes


def compare(exchange: Exchange, answer: Answer) -> Iterable[str]:
    """What in the answer is not as recorded."""
    expected = exchange["response"]
    if answer.status != expected["status"]:
        yield f"status {answer.status}, not {expected['status']}: {answer.body}"
        return
    recorded = {k.lower(): v for k, v in expected.get("headers", {}).items()}
    got: dict[str, list[str]] = {}
    for name, value in answer.headers:
        got.setdefault(name, []).append(value)
    for name, values in recorded.items():
        wanted = values if isinstance(values, list) else [values]
        if not _texts_match(wanted, got.get(name, [])):
            yield f"header {name}: {got.get(name)!r}, not {values!r}"
    for name, value in got.items():
        if name not in recorded and WATCHED.fullmatch(name):
            yield f"header {name}: {value!r}, absent upstream"
    body = expected.get("body", "")
    if isinstance(body, dict) and body.keys() == {"base64"}:
        body = base64.b64decode(body["base64"]).decode(errors="replace")
    if exchange.get("runtime"):
        body = _without_runtimes_text(body)
    yield from differences(body, answer.body)


def differences(expected: Any, got: Any, at: str = "$") -> Iterable[str]:
    """Where two JSON values differ, wildcards and free order respected."""
    match expected, got:
        case "*", _:
            return
        case str(), str():
            yield from _texts(expected, got, at)
        case dict(), dict():
            yield from _objects(expected, got, at)
        case list(), list() if _are_key_values(expected) or _are_key_values(got):
            yield from _objects(_as_map(expected), _as_map(got), at)
        case list(), list() if at.endswith(".logs"):
            yield from _unordered(expected, got, at)
        case list(), list():
            if len(expected) != len(got):
                yield f"{at}: {len(got)} items, not {len(expected)}: {got}"[:300]
            for index, (one, other) in enumerate(zip(expected, got, strict=False)):
                yield from differences(one, other, f"{at}[{index}]")
        case _ if type(expected) is not type(got) or expected != got:
            yield f"{at}: {got!r}, not {expected!r}"[:300]


def _texts(expected: str, got: str, at: str) -> Iterable[str]:
    if expected.startswith("{") and got.startswith("{"):
        yield from differences(json.loads(expected), json.loads(got), at)
    elif not _text_matches(expected, got):
        yield f"{at}: {got!r}, not {expected!r}"[:600]


def _objects(expected: dict[str, Any], got: dict[str, Any], at: str) -> Iterable[str]:
    for key in sorted(expected.keys() | got.keys()):
        if key not in got:
            yield f"{at}.{key}: missing"
        elif key not in expected:
            yield f"{at}.{key}: {got[key]!r}, absent upstream"[:300]
        elif key != "size":
            yield from differences(expected[key], got[key], f"{at}.{key}")


def _unordered(expected: list[Any], got: list[Any], at: str) -> Iterable[str]:
    left = list(got)
    for one in expected:
        fitting = [item for item in left if not [*differences(one, item)]]
        if fitting:
            left.remove(fitting[0])
        else:
            yield f"{at}: nothing like {one!r} in {got!r}"
    if left:
        yield f"{at}: {left!r}, absent upstream"


def _are_key_values(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(v, dict) and "key" in v for v in value)


def _as_map(entries: list[Any]) -> dict[str, Any]:
    return {
        entry["key"]: {k: v for k, v in entry.items() if k != "key"}
        for entry in entries
        if entry["key"] not in FREE_ANNOTATIONS
    }


def _without_runtimes_text(value: Any) -> Any:
    """Errors and logs that a runtime worded are those of upstream's runtimes."""
    match value:
        case dict():
            return {
                k: "*" if k in ("error", "logs") else _without_runtimes_text(v)
                for k, v in value.items()
            }
        case list():
            return [_without_runtimes_text(item) for item in value]
        case _:
            return value


def _texts_match(expected: list[str], got: list[str]) -> bool:
    return len(expected) == len(got) and all(map(_text_matches, expected, got))


def _text_matches(expected: str, got: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.split("*"))
    return re.fullmatch(pattern, got, re.DOTALL) is not None


def _body(request: Mapping[str, Any]) -> bytes | None:
    if isinstance(request.get("raw"), dict):
        return base64.b64decode(request["raw"]["base64"])
    if "raw" in request:
        return request["raw"].encode()
    if "generated" in request:
        made = request["generated"]
        text = made["prefix"] + made["char"] * made["count"] + made["suffix"]
        return text.encode()
    if "body" in request:
        return json.dumps(request["body"]).encode()
    return None


def _read(text: bytes, headers: Mapping[str, str]) -> Any:
    if text and JSON_TYPE.match(headers.get("content-type", "")):
        return json.loads(text)
    return text.decode(errors="replace")


def _basic(key: str) -> str:
    return "Basic " + base64.b64encode(key.encode()).decode()


def main(arguments: list[str]) -> int:
    url, guest, other, *names = arguments
    replayer = Replayer(url, guest=guest, other=other)
    outcomes = replay(
        load_exchanges(),
        lambda _: replayer,
        lambda exchange: (
            "not asked for" if names and exchange["name"] not in names else ""
        ),
    )
    failed = [outcome for outcome in outcomes.values() if outcome.problems]
    for outcome in failed:
        print(outcome.name, *outcome.problems, sep="\n    ")  # noqa: T201
    ran = sum(not outcome.skipped for outcome in outcomes.values())
    print(f"{ran - len(failed)} of {ran} as recorded")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
