"""What nodes without a network need, in one folder: wheels, and Debian's packages.

    DIR/*.whl    of everything the agent needs, for each architecture and Python
    DIR/deb/     the system packages with what they depend on (only on Debian or Ubuntu)

`edgectl deploy --wheelhouse DIR` brings along what is there.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from controller.deploy.release import Release
from edge_agent.model.errors import EdgeWhiskError

#: Debian 12 has 3.11, Ubuntu 24.04 3.12, Debian 13 3.13.
PYTHONS = ("3.11", "3.12", "3.13")
ARCHITECTURES = ("aarch64", "x86_64")
DEBIAN_NAMES = {"aarch64": "arm64", "x86_64": "amd64"}
#: Wheels for any glibc since Debian 12's.
_GLIBC = ("manylinux_2_36", "manylinux_2_34", "manylinux_2_31", "manylinux_2_28")
_OLDER = ("manylinux_2_27", "manylinux_2_24", "manylinux_2_17", "manylinux2014")
_TIMEOUT_S = 900


class BundleError(EdgeWhiskError):
    """Something could not be fetched; the text says what."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of node."""

    architecture: str
    python: str

    def __str__(self) -> str:
        return f"{self.architecture} with Python {self.python}"


def kinds(architectures: Sequence[str], pythons: Sequence[str]) -> Iterator[Kind]:
    for architecture in architectures:
        for python in pythons:
            yield Kind(architecture, python)


def fetch_wheels(release: Release, kind: Kind, folder: Path, extras: str) -> None:
    """Download what `release` needs on nodes of this kind.

    Raises:
        BundleError: pip's last words, for example that there is no such wheel.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    command += ["--only-binary=:all:", "--implementation=cp"]
    command += [f"--python-version={kind.python}"]
    for libc in (*_GLIBC, *_OLDER):
        command += [f"--platform={libc}_{kind.architecture}"]
    command += [f"--platform=linux_{kind.architecture}"]
    command += ["-c", str(release.constraints), "-d", str(folder)]
    command += [f"edgewhisk[{extras}] @ file://{release.wheel}"]
    _run(command, f"the wheels for {kind}")


def fetch_packages(
    names: Sequence[str], folder: Path, architecture: str | None = None
) -> int:
    """Download Debian's packages for this machine's release; how many are there now.

    Args:
        names: of packages; what they depend on comes with them.
        folder: where they go, beside those of other architectures.
        architecture: as `ARCHITECTURES` have it; this machine's when it is left out.

    Raises:
        BundleError: there is no apt here, or it does not know one of them.
    """
    if shutil.which("apt-get") is None:
        raise BundleError("no apt here: make the .deb files on Debian or Ubuntu")
    folder.mkdir(exist_ok=True)
    here = _run(["dpkg", "--print-architecture"], "dpkg").strip()
    wanted = DEBIAN_NAMES.get(architecture or "", here)
    with TemporaryDirectory(prefix="edgewhisk-apt-") as state:
        options = [] if wanted == here else _lists_of(wanted, Path(state))
        _download(names, folder, options)
    debs = sorted(folder.glob("*.deb"))
    # With an index the folder is a source of apt's, which takes what a node lacks.
    (folder / "Packages").write_text("\n".join(map(_indexed, debs)))
    return len(debs)


def _lists_of(architecture: str, state: Path) -> list[str]:
    """What lets apt see another architecture's packages in this machine's sources."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True)
    (state / "status").touch()
    settings = [f"APT::Architecture={architecture}"]
    settings += [f"APT::Architectures={architecture}", f"Dir::State={state}/state"]
    settings += [f"Dir::State::status={state}/status", f"Dir::Cache={state}/cache"]
    # As the user's own: the sandbox of apt may not be able to write there.
    settings += ["APT::Sandbox::User=root"]
    options = [part for setting in settings for part in ("-o", setting)]
    _run(["apt-get", *options, "update"], f"the lists of packages for {architecture}")
    return options


def _download(names: Sequence[str], folder: Path, options: Sequence[str]) -> None:
    command = ["apt-cache", *options, "depends", "--recurse"]
    without = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    command += [f"--no-{kind}" for kind in without]
    found = _run([*command, *names], "the packages")
    # What begins with a letter is a package; <...> are virtual ones.
    wanted = sorted({line for line in found.splitlines() if line[:1].isalnum()})
    download = ["apt-get", *options, "download", *wanted]
    _run(download, "the packages", folder=folder)


def _indexed(deb: Path) -> str:
    control = _run(["dpkg-deb", "--field", str(deb)], deb.name).rstrip("\n")
    sha256 = hashlib.sha256(deb.read_bytes()).hexdigest()
    size = deb.stat().st_size
    return f"{control}\nFilename: ./{deb.name}\nSize: {size}\nSHA256: {sha256}\n"


def make_bundle(
    release: Release,
    folder: Path,
    *,
    wanted: Sequence[Kind],
    packages: Sequence[str],
    extras: str,
    say: Callable[[str], None],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in wanted:
        say(f"wheels for {kind}")
        fetch_wheels(release, kind, folder, extras)
    if packages:
        for architecture in sorted({kind.architecture for kind in wanted}):
            say(f"packages for {architecture}: {', '.join(packages)}")
            fetch_packages(packages, folder / "deb", architecture)


def _run(command: Sequence[str], what: str, *, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{what}: no end within {_TIMEOUT_S} s") from error
    if done.returncode:
        raise BundleError(f"{what}: {_telling(done.stdout + done.stderr)}")
    return done.stdout


def _telling(text: str) -> str:
    missing = re.search(r"available for your environment:\n\s*(.+)", text)
    if missing:
        return f"no wheel of {missing[1]} exists for these"
    said = [line for line in text.splitlines() if line.strip()]
    telling = [line for line in said if line.startswith(("ERROR:", "E:"))]
    return (telling or said or ["failed"])[0]
