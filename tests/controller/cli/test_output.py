"""What a person and what a script sees."""

from __future__ import annotations

import json

import pytest

from controller.cli import output
from controller.cli.errors import Failed, InputError, exit_code, one_line
from controller.cli.output import Output
from controller.fleet.transport import OpenWhiskError
from edge_agent.model.errors import BadRequest, SettingsError


def test_a_table_in_a_pipe_is_lines_of_cells(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output().table(["a", "b"], [["1", "2"], ["3", ""]], document=None)
    assert capsys.readouterr().out == "1\t2\n3\t\n"


def test_with_json_a_table_is_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).table(["a"], [["1"]], document=[{"a": 1}])
    assert capsys.readouterr().out == '[{"a":1}]\n'


def test_a_document_is_indented_for_a_person(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Output().document({"a": [1]})
    said = capsys.readouterr().out
    assert json.loads(said) == {"a": [1]}
    assert said.count("\n") > 1


def test_the_talk_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.ok("created action hello")
    out.warn("careful")
    out.say("well")
    output.complain("no")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ("ok: created action hello\nwarning: careful\nwell\nerror: no\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failed("x"), 1),
        (InputError("x"), 2),
        (OpenWhiskError(404, "x"), 1),
        (OpenWhiskError(0, "x"), 1),
        (OpenWhiskError(400, "x"), 2),
        (OpenWhiskError(413, "x"), 2),
        (SettingsError("x"), 2),
        (BadRequest("x"), 2),
        (ZeroDivisionError("x"), 1),
        (ExceptionGroup("several", [InputError("x")]), 2),
        (ModuleNotFoundError("x", name="locust"), 2),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_an_error_of_many_lines_is_told_in_one() -> None:
    error = OpenWhiskError(400, "The request content was malformed:\nno object")
    assert one_line(error) == "The request content was malformed: no object"


def test_a_missing_extra_is_named() -> None:
    error = ModuleNotFoundError("No module named 'locust'", name="locust.main")
    assert "pip install 'edgewhisk[loadtests]'" in one_line(error)


def test_a_fault_of_ours_is_owned() -> None:
    assert one_line(KeyError("k")).startswith("a fault of edgectl: KeyError")
