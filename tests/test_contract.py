"""`docs/contract.md` against the tests: what is said to hold is shown by one.

A row is cited by a test's name, `test_a64_...`, or by the name of a recorded exchange
that is replayed. The list of rows is `tests/data/contract-rows.txt`.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "contract.md"
ROWS = TESTS / "data" / "contract-rows.txt"
ROW = re.compile(r"[A-H]\d+[a-z]?")
IN_A_NAME = re.compile(r"(?<![a-z0-9])([a-h]\d+[a-z]?)(?=_)")


@cache
def rows() -> list[str]:
    """All of them, in the order of their sections."""
    lines = ROWS.read_text().splitlines()
    return [row for line in lines for row in line.partition(": ")[2].split()]


def row_of(found: str) -> str:
    return found[0].upper() + found[1:]


def names_of_tests() -> set[str]:
    return {
        node.name
        for file in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def exchanges() -> ModuleType:
    path = TESTS / "edge_agent" / "test_exchanges.py"
    spec = importlib.util.spec_from_file_location("exchanges_of_the_contract", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def cited() -> set[str]:
    by_name = {
        row_of(found) for name in names_of_tests() for found in IN_A_NAME.findall(name)
    }
    module = exchanges()
    replayed = {
        row
        for name, exchange in module.EXCHANGES.items()
        if name not in module.NOT_REPLAYED and not module._reason_to_skip(exchange)
        for row in exchange["row"]
    }
    return by_name | replayed


def in_range(text: str) -> list[str]:
    """`A1-A3, A5` as rows; a range goes by the order of the list."""
    ordered = sorted(rows(), key=_order)
    found: list[str] = []
    for part in re.findall(rf"{ROW.pattern}(?:-{ROW.pattern})?", text):
        first, _, last = part.partition("-")
        start = ordered.index(first)
        found += ordered[start : ordered.index(last or first) + 1]
    return found


def _order(row: str) -> tuple[str, int, str]:
    number = re.sub(r"\D", "", row)
    return row[0], int(number), row[1 + len(number) :]


@cache
def table() -> dict[str, list[str]]:
    """Rows that hold, and those of the tables, by what their heading says."""
    text = TABLE.read_text()
    found: dict[str, list[str]] = {"holds": []}
    for block in re.findall(r"^Holds: (.*?)\.$", text, re.MULTILINE | re.DOTALL):
        found["holds"] += in_range(block)
    heading = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and ROW.fullmatch(cells[0]):
            assert cells[1], f"{cells[0]}: no reason"
            found.setdefault(heading, []).append(cells[0])
        elif line.startswith("| ") and "---" not in line:
            heading = cells[0]
    return found


def test_the_table_says_of_every_row_once_whether_it_holds() -> None:
    said = [row for found in table().values() for row in found]

    assert sorted(said) == sorted(rows())
    assert table().keys() <= {"holds", "differs on purpose", "waits"}


def test_what_is_said_to_hold_is_shown_by_a_test() -> None:
    assert [row for row in table()["holds"] if row not in cited()] == []


def test_what_is_said_to_wait_is_shown_by_no_tests_name() -> None:
    """Whoever builds it moves its row."""
    by_name = {
        row_of(found) for name in names_of_tests() for found in IN_A_NAME.findall(name)
    }

    assert [row for row in table().get("waits", []) if row in by_name] == []
