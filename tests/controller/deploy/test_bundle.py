"""A bundle for nodes without a network, as far as no registry is needed."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from controller.deploy.bundle import Kind, _indexed, _telling, kinds
from controller.deploy.release import Release


def test_every_architecture_goes_with_every_python() -> None:
    assert list(kinds(["aarch64", "x86_64"], ["3.11"])) == [
        Kind("aarch64", "3.11"),
        Kind("x86_64", "3.11"),
    ]


def test_what_has_no_wheel_is_named() -> None:
    said = (
        "ERROR: Cannot install edgewhisk because of conflicts.\n"
        "some packages in these conflicts have no matching distributions available"
        " for your environment:\n    lgpio\n"
    )

    assert _telling(said) == "no wheel of lgpio exists for these"
    assert _telling("noise\nE: Unable to locate package x") == (
        "E: Unable to locate package x"
    )


def test_packages_get_an_index_that_apt_reads_and_deploy_brings_them(
    tmp_path: Path,
) -> None:
    control = tmp_path / "p" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    control.write_text(
        "Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\n"
        "Description: a test\n"
    )
    folder = tmp_path / "bundle" / "deb"
    folder.mkdir(parents=True)
    deb = folder / "hello.deb"
    subprocess.run(
        ["dpkg-deb", "--build", tmp_path / "p", deb], check=True, capture_output=True
    )
    (folder / "Packages").write_text(_indexed(deb))
    wheel = tmp_path / "edgewhisk-1-py3-none-any.whl"
    wheel.touch()

    variables = Release("edgewhisk-1+0", wheel).variables(tmp_path / "bundle")

    assert "Package: hello" in _indexed(deb)
    assert "Filename: ./hello.deb" in _indexed(deb)
    with tarfile.open(str(variables["edge_agent_debs"])) as tar:
        assert tar.getnames() == ["Packages", "hello.deb"]
