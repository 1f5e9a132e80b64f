from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.model.activations import StartKind, Status, failure, success
from edge_agent.model.entities import Action, Exec
from edge_agent.model.jobs import Finished, Identity, Job
from edge_agent.telemetry.log import (
    CONSOLE,
    ActivationLog,
    ConsoleLines,
    JsonLines,
    of,
)

ID = "0123456789abcdef" * 2
JOB = Job(
    activation_id=ID,
    action=Action(
        namespace="guest/p", name="a", version="0.0.1", exec=Exec(kind="python:3.11")
    ),
    identity=Identity(subject="guest", namespace="guest", uuid="", key=""),
    arguments=b"{}",
    accepted_ns=0,
    accepted_ms=0,
    transaction_id="t",
)
ENDED = Finished(
    response=success(b"{}"), start_ms=0, wait_ms=1, run_ms=2, start=StartKind.WARM
)
FAILED = Finished(
    response=failure(Status.DEVELOPER_ERROR, "no"),
    start_ms=0,
    wait_ms=1,
    run_ms=2,
    init_ms=3,
    start=StartKind.COLD,
)


class Written:
    def __init__(self, formatter: logging.Formatter) -> None:
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.setFormatter(formatter)

    @property
    def lines(self) -> list[str]:
        return self._stream.getvalue().splitlines()


@pytest.fixture(params=["console", "json"])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    json_wanted = request.param == "json"
    found = Written(JsonLines() if json_wanted else ConsoleLines(CONSOLE))
    log = logging.getLogger("edge_agent")
    log.addHandler(found.handler)
    before = log.level
    log.setLevel(logging.INFO)
    yield found
    log.setLevel(before)
    log.removeHandler(found.handler)


async def test_each_end_of_an_activation_is_a_line_with_its_id(
    written: Written,
) -> None:
    log = ActivationLog()
    log.ended(JOB, ENDED)
    log.ended(JOB, FAILED)
    await asyncio.sleep(0)
    assert written.lines == []
    log.flush()

    one, other = written.lines
    if one.startswith("{"):
        figures = json.loads(other)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", figures["time"])
        del figures["time"]
        assert figures == {
            "level": "INFO",
            "logger": "edge_agent.activations",
            "message": "ended",
            "activation": ID,
            "action": "guest/p/a",
            "kind": "python:3.11",
            "start": "cold",
            "wait_ms": 1,
            "init_ms": 3,
            "run_ms": 2,
            "status": "action developer error",
        }
        assert "init_ms" not in json.loads(one)
    else:
        assert one.endswith(
            f"INFO edge_agent.activations: ended: {ID} action=guest/p/a "
            "kind=python:3.11 start=warm wait_ms=1 run_ms=2 status='success'"
        )
        assert re.match(r"\d{4}-\d\d-\d\d ", other)
        assert " init_ms=3 " in other


def test_what_concerns_an_activation_has_its_id(written: Written) -> None:
    log = logging.getLogger("edge_agent.test")
    log.warning("no %s", "luck", extra=of(ID))
    log.warning("no %s", "id")
    error = ValueError("why\nnot")
    log.error("it failed", exc_info=error, extra=JOB.log_fields)

    lines = written.lines
    if lines[0].startswith("{"):
        first, second, third = map(json.loads, lines)
        assert (first["message"], first["activation"]) == ("no luck", ID)
        assert "activation" not in second
        assert third["activation"] == ID
        assert third["traceback"].endswith("ValueError: why\nnot")
    else:
        assert lines[0].endswith(f"WARNING edge_agent.test: no luck [{ID}]")
        assert lines[1].endswith("no id")
        assert lines[2].endswith(f"it failed [{ID}]")
        assert lines[-1] == "not"


@pytest.mark.parametrize("value", ["\x1b[31mred", 'a "q"\nline', "é\ud800", {1, 2}])
def test_no_text_breaks_a_line_of_json(written: Written, value: Any) -> None:
    if isinstance(value, str) and "\ud800" in value:
        value = value.encode(errors="replace").decode()
    logging.getLogger("edge_agent.test").warning("%s", value)

    if written.lines[0].startswith("{"):
        [line] = written.lines
        assert json.loads(line)["message"] == str(value)


def test_a_node_logs_json_when_it_is_told_to(agent_factory: Any) -> None:
    settings = '[sandbox]\nminimum_level = "rlimits"\n[logging]\nformat = "json"\n'
    agent = agent_factory(settings=settings)
    agent.stop()

    lines = [json.loads(line) for line in agent.log.read_text().splitlines()]

    assert any(line["message"].startswith("serving http") for line in lines)
    assert all({"time", "level", "logger"} <= line.keys() for line in lines)
