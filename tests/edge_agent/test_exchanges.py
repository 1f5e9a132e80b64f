"""What was recorded from the real OpenWhisk, sent to a real agent.

One test for each exchange. All are sent once, in the order in which they were recorded
(they build on each other), to agents in this process: one whose throttles are out of
the way, one with the standard ones, and one that does not let anybody wait for long.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edge_agent.app import Node
from edge_agent.engine.engine import wall_ms
from edge_agent.engine.throttles import MINUTE_MS
from edge_agent.settings import Settings, parse_settings

START_TIMEOUT_S = 15.0

#: They show a wait that expires: sent to a node that waits for a second, not a minute,
#: and has never run the actions, so that none of them is done in a millisecond.
IMPATIENT = ("invoke-sq-wait", "wait-default-60", "wait-seq-60", "wait-web-60")

#: Not replayed, by name.
NOT_REPLAYED = {"seq-after-wait": "reads the record of what has run for 63 seconds"}

RUNTIMES = r"\$\.runtimes\..*"
PYTHON = r".*'python:3\.\d+', not 'python:3\.10'"
BUILT_IN = r"\$: \d+ items, not \d+: .*'namespace': 'whisk\.system'.*"
NO_KEY = r".*__ow_headers\.authorization: missing"

ARRAY = r"status (200|400), not 500: .*"
OWN_CORS = r".*-origin: \['https://a\.b'\], not .*"

#: Exchanges that were recorded in a minute in which nothing had been counted (D23).
AT_A_NEW_MINUTE = {
    "throttle-fires",
    "throttle-seq-30",
    "throttle-rule-fires",
    "throttle-concurrent",
}

#: Exchanges in which we differ on purpose: which differences there are to be, and why.
OURS = {
    "info-root": (RUNTIMES, "A14: the runtimes are those of the node"),
    "stock-info-root": (RUNTIMES, "A14: the runtimes are those of the node"),
    "put-java-no-main": (r"\$\.error: .*'java:8' is not supported.*", "B6: no Java"),
    "put-py-default": (PYTHON, "B5: the default is the Python of the node"),
    "other-namespace-packages": (BUILT_IN, "the built-in packages are open to all"),
    "foreign-packages": (BUILT_IN, "the built-in packages are open to all"),
    "list-acts-b1-name": (r"\$: 1 items, not 0.*", "B34: found by either name"),
    "fire-rule-action-record": (NO_KEY, "A88: the caller's key is not passed on"),
    "fire-rule-header-record": (NO_KEY, "A88: the caller's key is not passed on"),
    "fire-tp-args": (NO_KEY, "A88: the caller's key is not passed on"),
    "args-user": (NO_KEY, "B64: the caller's key is not passed on"),
    "http-own-cors": (OWN_CORS, "B69: the action's replaces ours"),
    "invokers-ready": (r"status 200, not 500: .*", "A19: actions can run"),
    "apimgmt-absent": (r"status 200, not 404: .*", "B85: there is a gateway"),
    "ret-json-array": (ARRAY, "B72: an array is an answer"),
    "ret-http-array": (ARRAY, "B72: an array is no HTTP message"),
    "ret-html-array": (ARRAY, "B72: an array is no HTML"),
}


def _load_replay() -> ModuleType:
    """`tests/replay.py`; tests are no package, so that nothing imports them."""
    path = Path(__file__).parents[1] / "replay.py"
    spec = importlib.util.spec_from_file_location("replay", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["replay"] = module
    spec.loader.exec_module(module)
    return module


replay = _load_replay()
EXCHANGES = {exchange["name"]: exchange for exchange in replay.load_exchanges()}

pytestmark = [pytest.mark.node, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    home = tmp_path_factory.mktemp("exchanges")
    clock = Clock()
    with (
        _agent(_settings(home / "raised")) as raised,
        _agent(_settings(home / "stock", limits=STOCK), clock) as stock,
        _agent(_settings(home / "impatient", limits={"blocking_wait_ms": 1000})) as one,
    ):
        replayers = {"stock": _replayer(stock), "raised": _replayer(raised)}

        def replayer(exchange: dict[str, Any]) -> Any:
            if exchange["name"] in AT_A_NEW_MINUTE:
                clock.new_minute()
            return replayers[exchange.get("server", "raised")]

        most = (e for name, e in EXCHANGES.items() if name not in IMPATIENT)
        found = replay.replay(most, replayer, _reason_to_skip)
        impatient = _replayer(one)
        yield found | replay.replay(
            map(EXCHANGES.__getitem__, _with_setups(IMPATIENT)),
            lambda _: impatient,
            lambda _: "",
        )


def _with_setups(names: Iterable[str]) -> list[str]:
    """Those and all that they build on, in the order of the recording."""
    wanted = set(names)
    for name in reversed(EXCHANGES):
        if name in wanted:
            wanted |= set(EXCHANGES[name].get("setup", ()))
    return [name for name in EXCHANGES if name in wanted]


def _with_rows(name: str) -> str:
    """The rows of the contract are part of a test's name."""
    return "-".join([*(row.lower() for row in EXCHANGES[name]["row"]), name])


@pytest.mark.parametrize("name", EXCHANGES, ids=_with_rows)
def test_an_exchange_is_answered_as_the_real_system_did(
    name: str, outcomes: dict[str, Any]
) -> None:
    outcome = outcomes[name]
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    if name in OURS:
        difference, reason = OURS[name]
        ours = [p for p in outcome.problems if re.fullmatch(difference, p, re.DOTALL)]
        assert outcome.problems == ours != [], reason
    else:
        assert outcome.problems == [], ", ".join(EXCHANGES[name]["row"])


def test_every_name_in_the_tables_is_an_exchange() -> None:
    assert EXCHANGES.keys() >= NOT_REPLAYED.keys() | OURS.keys() | AT_A_NEW_MINUTE
    assert EXCHANGES.keys() >= set(IMPATIENT)


STOCK = {
    "invocations_per_minute": 60,
    "fires_per_minute": 60,
    "concurrent_invocations": 30,
}


def _reason_to_skip(exchange: dict[str, Any]) -> str:
    return NOT_REPLAYED.get(exchange["name"], "")


def _settings(data: Path, limits: dict[str, int] | None = None) -> Settings:
    document: dict[str, Any] = {
        "data_dir": str(data),
        "server": {"port": 0},
        "sandbox": {"minimum_level": "rlimits"},
        "limits": limits or {},
    }
    if limits:  # what is asked to sleep is not waited for
        document["server"]["stop_timeout_s"] = 0.5
    return parse_settings(document, source="test")


def _replayer(facts: dict[str, Any]) -> Any:
    return replay.Replayer(facts["url"], guest=facts["key"], other=facts["system_key"])


class Clock:
    """The time, with jumps to the beginning of the next minute."""

    def __init__(self) -> None:
        self._ahead_ms = 0

    def __call__(self) -> int:
        return wall_ms() + self._ahead_ms

    def new_minute(self) -> None:
        self._ahead_ms += MINUTE_MS - self() % MINUTE_MS


@contextmanager
def _agent(
    settings: Settings, clock: Callable[[], int] = wall_ms
) -> Iterator[dict[str, Any]]:
    """An agent in a loop and thread of its own; yields its facts."""
    started = threading.Event()
    facts: dict[str, Any] = {}
    stopping: list[Any] = []

    async def serve() -> None:
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        async with Node(settings, wall_ms=clock) as node:
            facts.update(node.facts)
            started.set()
            await node.serve_until(stop)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="agent")
    thread.start()
    try:
        assert started.wait(START_TIMEOUT_S), "the agent did not start"
        yield facts
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_TIMEOUT_S)
        assert not thread.is_alive()
