from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from edge_agent.model.numbers import in_range

_fields = msgspec.json.Decoder(dict[str, Raw])


def _in_range(body: bytes) -> bool:
    return in_range(body, _fields.decode(body))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1E+400", b"0.1e0400"])
def test_what_no_double_holds_is_out_of_range(number: bytes) -> None:
    assert not in_range(b"[" + number + b"]")
    assert not _in_range(b'{"a":' + number + b"}")
    assert not _in_range(b'{"a":{"b":[' + number + b"]}}")


@pytest.mark.parametrize("value", [b"1e308", b"1e-400", b'"1e999"', b"1" * 5000, b"[]"])
def test_everything_else_is_in_range(value: bytes) -> None:
    assert _in_range(b'{"1e999":' + value + b"}")


def test_a_long_string_beside_it_hides_nothing() -> None:
    long = b'"' + b"e999" * 10_000 + b'"'

    assert _in_range(b'{"a":' + long + b',"b":[1e30]}')
    assert not _in_range(b'{"a":' + long + b',"b":[1e999]}')
    assert not _in_range(b'{"a":[' + long + b'],"b":1e999}')
