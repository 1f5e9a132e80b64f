from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.deploy.check import check_yaml, hosts_of
from controller.fleet.inventory import InventoryError

GOOD = """
all:
  vars: {ansible_user: pi}
  hosts:
    attic: {ansible_host: 192.0.2.1}
    cellar:
  children:
    far:
      hosts:
        shed: {}
        attic:
"""


@pytest.mark.parametrize(
    ("text", "line", "fix"),
    [
        ("", 1, "begin with `all:`"),
        ("- a\n", 1, "write `NAME_OF_GROUP:`"),
        ("all:\n  hosts:\n    - a\n", 3, "without a dash"),
        ("all:\n  hosts:\n    a: b\n", 3, "VARIABLE: VALUE"),
        ("all:\n  hosts:\n    a: {b: [}\n", 3, "indentation"),
        ("all:\n  hostz:\n    a:\n", 2, "only hosts, vars and children"),
        ("all:\n  hosts:\n    off:\n", 3, 'write "off":'),
        ("all:\n  children:\n    g:\n      hosts: 7\n", 4, "write `NAME:`"),
    ],
)
def test_a_broken_inventory_is_one_line_with_file_line_and_fix(
    text: str, line: int, fix: str, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)

    with pytest.raises(InventoryError) as caught:
        check_yaml(path)

    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert fix in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("host_vars/attic.yaml", "a: [\n", 2),
        ("host_vars/attic/more.yml", "- a\n", 1),
        ("group_vars/all", "a: 1\nb: c: d\n", 2),
        ("group_vars/all.yaml", "a: 1\nb: {{ c }}\n", 2),
    ],
)
def test_a_broken_file_of_variables_is_named_with_its_line(
    file: str, text: str, line: int, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(GOOD)
    broken = tmp_path / file
    broken.parent.mkdir(parents=True)
    broken.write_text(text)
    broken.with_name(".hidden.yaml").write_text("[")
    broken.with_name("secret.yaml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3132\n")

    with pytest.raises(InventoryError) as caught:
        hosts_of(path, limit=None, environ=os.environ)

    assert str(caught.value).startswith(f"{broken}:{line}: ")
    assert "\n" not in str(caught.value)


def test_each_file_of_a_folder_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "wrong.yaml").write_text("all: [\n")

    with pytest.raises(InventoryError, match=r"wrong\.yaml:2: not YAML"):
        hosts_of(tmp_path, limit=None, environ=os.environ)


def test_an_inventory_gives_its_hosts_each_once(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(GOOD)

    assert hosts_of(path, limit=None, environ=os.environ) == ["attic", "cellar", "shed"]


def test_a_limit_narrows_the_hosts_and_must_match_one(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(GOOD)

    assert hosts_of(path, limit="shed", environ=os.environ) == ["shed"]
    with pytest.raises(InventoryError, match="--limit barn matches none"):
        hosts_of(path, limit="barn", environ=os.environ)


def test_an_ini_inventory_is_judged_by_ansible_itself(tmp_path: Path) -> None:
    path = tmp_path / "hosts.ini"
    path.write_text("[far]\nshed oops\n")

    with pytest.raises(InventoryError, match="Expected key=value") as caught:
        hosts_of(path, limit=None, environ=os.environ)

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_inventory_without_hosts_or_without_a_file_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fleet.yaml"
    with pytest.raises(InventoryError, match="no such file"):
        hosts_of(path, limit=None, environ=os.environ)

    path.write_text("all:\n  hosts:\n")
    with pytest.raises(InventoryError, match="no hosts"):
        hosts_of(path, limit=None, environ=os.environ)
