from __future__ import annotations

import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from controller.deploy.release import (
    Release,
    ReleaseError,
    make_release,
    name_of,
    pack_installed,
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("release"))


def installed(wheel: Path, folder: Path) -> metadata.Distribution:
    """Lay the wheel out as pip does, with the files that pip adds."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)  # noqa: S202 it is our own
    info = next(folder.glob("edgewhisk-*.dist-info"))
    (info / "INSTALLER").write_text("pip\n")
    (info / "direct_url.json").write_text("{}")
    with (info / "RECORD").open("a") as record:
        record.write(f"{info.name}/INSTALLER,,\n{info.name}/direct_url.json,,\n")
        record.write("../../../bin/edgectl,,\ncontroller/__pycache__/x.pyc,,\n")
    return metadata.Distribution.at(info)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_release_is_named_after_version_and_content(
    release: Release, tmp_path: Path
) -> None:
    version, _, sha = release.name.partition("+")
    again = make_release(tmp_path)

    assert release.wheel.name.startswith(f"edgewhisk-{version}-")
    assert len(sha) == 8
    assert name_of(again.wheel) == release.name


def test_an_installation_is_packed_into_the_wheel_that_it_came_from(
    release: Release, tmp_path: Path
) -> None:
    distribution = installed(release.wheel, tmp_path / "site")

    packed = pack_installed(distribution, tmp_path)

    built = contents(release.wheel)
    record = next(name for name in built if name.endswith("/RECORD"))
    mine = contents(packed)
    assert mine.keys() == built.keys()
    assert {n: c for n, c in mine.items() if n != record} == {
        n: c for n, c in built.items() if n != record
    }
    assert sorted(mine[record].split()) == sorted(built[record].split())


def test_packing_an_installation_twice_gives_the_same_release(
    release: Release, tmp_path: Path
) -> None:
    distribution = installed(release.wheel, tmp_path / "site")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()

    one, two = (name_of(pack_installed(distribution, folder)) for folder in folders)

    assert one == two


def test_an_installation_that_has_lost_a_file_is_refused(
    release: Release, tmp_path: Path
) -> None:
    distribution = installed(release.wheel, tmp_path / "site")
    (tmp_path / "site" / "edge_agent" / "settings.py").unlink()

    with pytest.raises(ReleaseError, match=r"settings\.py.*install edgewhisk again"):
        pack_installed(distribution, tmp_path)


def test_the_archive_holds_our_wheel_and_not_the_wheelhouses(
    release: Release, tmp_path: Path
) -> None:
    (tmp_path / "aiohttp-3.whl").write_bytes(b"a")
    (tmp_path / release.wheel.name).write_bytes(b"another build")

    variables = release.variables(tmp_path)

    with tarfile.open(str(variables["edge_agent_archive"])) as archive:
        names = archive.getnames()
        ours = archive.extractfile(release.wheel.name)
        assert ours is not None
        assert ours.read() == release.wheel.read_bytes()
    assert sorted(names) == sorted(
        ["aiohttp-3.whl", "constraints.txt", release.wheel.name]
    )
    assert variables["edge_agent_offline"] is True
    assert release.variables(None)["edge_agent_offline"] is False
