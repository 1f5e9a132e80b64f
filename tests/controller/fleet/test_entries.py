"""targets.toml: what the user wrote stays, what a deployment writes is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.fleet.entries import (
    PLACE,
    Cluster,
    Entry,
    EntryError,
    drop_entry,
    put_entry,
    read_entries,
)
from controller.fleet.target import Choice, choose

MINE = """\
# my own
[cluster]  # far away
apihost = "ow.example"
auth = "u:k"

["pi.attic"]
apihost = "http://192.0.2.1:3233"
auth = "u:k2"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / PLACE
    path.parent.mkdir(parents=True)
    path.write_text(MINE)
    return path


def test_an_entry_is_read_as_it_was_written(place: Path) -> None:
    cluster = Cluster(namespace="ow", release="owdev", context="lab")
    lean = Entry(apihost="http://192.0.2.2:3233", auth="u:k3", system_auth="s:k")
    ow = Entry(apihost="https://a", auth="u:k4", insecure=True, kubernetes=cluster)

    changed = [put_entry(place, "attic-lean", lean), put_entry(place, "ow.lab", ow)]

    assert changed == [True, True]
    assert read_entries(place) == {
        "cluster": Entry(apihost="ow.example", auth="u:k"),
        "pi.attic": Entry(apihost="http://192.0.2.1:3233", auth="u:k2"),
        "attic-lean": lean,
        "ow.lab": ow,
    }
    assert place.read_text().startswith(MINE)


def test_the_same_entry_again_changes_nothing_and_another_replaces_it(
    place: Path,
) -> None:
    old, new = Entry(apihost="a", auth="u:1"), Entry(apihost="a", auth="u:2")
    put_entry(place, "lean", old)

    again, other = put_entry(place, "lean", old), put_entry(place, "lean", new)

    assert (again, other) == (False, True)
    assert read_entries(place)["lean"] == new
    assert place.read_text().count("[lean]") == 1


def test_dropping_an_entry_leaves_every_other_line(place: Path) -> None:
    cluster = Cluster(namespace="ow", release="owdev")
    put_entry(place, "ow", Entry(apihost="a", auth="u:1", kubernetes=cluster))

    dropped, again = drop_entry(place, "ow"), drop_entry(place, "ow")

    assert (dropped, again) == (True, False)
    assert place.read_text().rstrip() == MINE.rstrip()


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    put_entry(tmp_path / "new" / "targets.toml", "a", Entry(apihost="a", auth="u:1"))

    assert (tmp_path / "new/targets.toml").stat().st_mode & 0o777 == 0o600


def test_a_target_may_be_given_by_its_name(place: Path, tmp_path: Path) -> None:
    assert place.exists()
    named = choose(Choice(url="pi.attic"), environ={}, home=tmp_path)
    host = choose(Choice(url="other.example", auth="u:x"), environ={}, home=tmp_path)

    assert (named.targets[0].url, named.targets[0].key) == (
        "http://192.0.2.1:3233",
        "u:k2",
    )
    assert host.targets[0].url == "https://other.example"


def test_what_is_no_such_file_is_named(place: Path) -> None:
    place.write_text("[a]\nhost = 1\n")

    with pytest.raises(EntryError, match=r"targets\.toml: .*apihost|unknown field"):
        read_entries(place)
