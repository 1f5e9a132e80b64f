"""What the distribution carries: `pip install 'edgewhisk[controller]'` must be enough."""

from __future__ import annotations

import subprocess
import venv
import zipfile
from pathlib import Path

import pytest

import controller
import edge_agent
from controller.deploy.release import CONSTRAINTS, make_release

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("wheel")).wheel


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked(folder: str) -> list[str]:
    """The files of the checkout, below `folder`, that git would keep."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("edge_agent", "edge_agent"),
        ("controller", "controller"),
        ("loadtests", "loadtests"),
        ("ansible", "controller/deploy/ansible"),
        ("examples", "controller/examples"),
    ],
)
def test_the_wheel_carries_every_file_of(
    folder: str, place: str, names: set[str]
) -> None:
    expected = {place + name.removeprefix(folder) for name in tracked(folder)}

    assert expected
    assert expected <= names


def test_the_wheel_has_no_top_level_package_that_hides_another(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "controller",
        "edge_agent",
        "loadtests",
    }


def test_the_constraints_are_one_file_in_two_places() -> None:
    assert (ROOT / "constraints.txt").resolve() == CONSTRAINTS
    assert "://" not in CONSTRAINTS.read_text()


def test_an_editable_installation_copies_nothing() -> None:
    # A copied folder would join the package's path as a second, stale portion.
    assert list(controller.__path__) == [str(ROOT / "controller")]
    assert list(edge_agent.__path__) == [str(ROOT / "edge_agent")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_controller_extra_alone_gives_a_working_edgectl(
    wheel: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    run(
        *(binaries / "python", "-m", "pip", "--disable-pip-version-check"),
        *("install", "--quiet", "--no-compile", "-c", CONSTRAINTS),
        f"edgewhisk[controller] @ file://{wheel}",
        cwd=tmp_path,
    )
    code = "from controller.deploy import release; print(release.find_ansible())"

    assert "deploy" in run(binaries / "edgectl", "--help", cwd=tmp_path)
    found = Path(run(binaries / "python", "-c", code, cwd=tmp_path).strip())
    assert (found / "playbooks" / "site.yml").is_file()
    assert found.is_relative_to(tmp_path)
    refused = ask(binaries / "edge-agent", "--version", cwd=tmp_path)
    assert refused.returncode in {0, 2}
    assert "Traceback" not in refused.stderr
    repacked = (
        "import pathlib; from controller.deploy.release import make_release;"
        "print(make_release(pathlib.Path('.')).wheel.name)"
    )
    assert run(binaries / "python", "-c", repacked, cwd=tmp_path).strip() == wheel.name


def run(*command: str | Path, cwd: Path) -> str:
    done = ask(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=cwd, check=False, capture_output=True, text=True
    )
