"""Settings: defaults, overlays, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.model.errors import SettingsError
from edge_agent.settings import Settings, load_settings, parse_settings


def test_without_a_file_there_are_the_defaults() -> None:
    assert load_settings(None) == Settings()


def test_the_command_line_lies_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('data_dir = "/a"\n[server]\nport = 1\nhost = "h"\n')
    read = load_settings(file, data_dir="/b", server={"port": 0, "host": None})
    assert read.data_dir == "/b"
    assert (read.server.host, read.server.port) == ("h", 0)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"pool": {"memory_mb": -1}}, "here: pool.memory_mb: Expected `int` >= 1"),
        ({"pool": {"memroy_mb": 1}}, "here: pool: Object contains unknown field"),
        ({"mqtt": {"receive_maximum": 70000}}, "here: mqtt.receive_maximum"),
        ({"limits": {"timeout_ms": {"least": 1}}}, "here: limits.timeout_ms"),
        ({"mqtt": {"password": {}}}, "here: mqtt.password: Object missing"),
    ],
)
def test_an_error_names_the_source_and_the_key(
    document: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_settings(document, source="here")
    assert str(raised.value).startswith(said)


def test_what_is_wrong_in_the_file_is_told_though_the_command_line_has_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[server]\nport = "a"\n')

    with pytest.raises(SettingsError, match=r"server\.port: Expected `int`, got `str`"):
        load_settings(file, server={"port": 0})


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"s\.toml: cannot be read"):
        load_settings(file)
