"""What is deployed: one wheel, named after its version and its content.

The name is `version+sha256[:8]`, so that two builds of one version never share a
folder on a node and the same build always does. From a checkout the wheel is built;
where EdgeWhisk itself was installed from a wheel, the installed files are packed again
(an installation keeps every file of its wheel but not the wheel).
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from edge_agent.model.errors import EdgeWhiskError

DISTRIBUTION = "edgewhisk"
ROOM = Path(__file__).parent
CHECKOUT = ROOM.parent.parent
CONSTRAINTS = ROOM / "constraints.txt"
BUILD_TIMEOUT_S = 300
SHA_LENGTH = 8
# Zip cannot say less; hatchling uses this year too.
EPOCH = (2020, 2, 2, 0, 0, 0)
# What an installer adds to the files of a wheel.
ADDED = {"INSTALLER", "REQUESTED", "direct_url.json", "RECORD"}


class ReleaseError(EdgeWhiskError):
    """There is no wheel to deploy; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Release:
    """A wheel on this machine and the exact versions it is installed with."""

    name: str
    wheel: Path
    constraints: Path = CONSTRAINTS

    def variables(self, wheelhouse: Path | None) -> dict[str, str | bool]:
        """Pack what a node gets; what the role wants to know (see its defaults)."""
        return {
            "edge_agent_release": self.name,
            "edge_agent_archive": str(self._pack(wheelhouse)),
            "edge_agent_wheel": self.wheel.name,
            "edge_agent_offline": wheelhouse is not None,
            "edge_agent_debs": self._pack_debs(wheelhouse),
        }

    def _pack(self, wheelhouse: Path | None) -> Path:
        """One file, since each file that Ansible copies is a second on a Pi."""
        archive = self.wheel.parent / "wheels.tar"
        others = sorted(wheelhouse.glob("*.whl")) if wheelhouse else []
        with tarfile.open(archive, "w") as tar:
            for file in (self.wheel, self.constraints, *others):
                # The wheelhouse may hold another build of the same version.
                if file == self.wheel or file.name != self.wheel.name:
                    tar.add(file, arcname=file.name)
        return archive

    def _pack_debs(self, wheelhouse: Path | None) -> str:
        """Debian's packages that `edgectl bundle` fetched, "" where there are none."""
        folder = wheelhouse / "deb" if wheelhouse else None
        if folder is None or not (folder / "Packages").is_file():
            return ""
        archive = self.wheel.parent / "debs.tar"
        with tarfile.open(archive, "w") as tar:
            for file in sorted(folder.iterdir()):
                tar.add(file, arcname=file.name)
        return str(archive)


def make_release(folder: Path) -> Release:
    """Put the wheel into `folder` (kept by the caller as long as the release).

    Raises:
        ReleaseError: the build failed, or the installation has lost files.
    """
    if (CHECKOUT / "pyproject.toml").is_file():
        wheel = _build(CHECKOUT, folder)
    else:
        wheel = pack_installed(metadata.distribution(DISTRIBUTION), folder)
    return Release(name=name_of(wheel), wheel=wheel)


def name_of(wheel: Path) -> str:
    """`edgewhisk-0.1.0-py3-none-any.whl` -> `0.1.0+1a2b3c4d`."""
    version = wheel.name.split("-")[1]
    sha = hashlib.sha256(wheel.read_bytes()).hexdigest()[:SHA_LENGTH]
    # A local version (1.0+x) has its plus already.
    return f"{version}{'.' if '+' in version else '+'}{sha}"


def find_ansible() -> Path:
    """The folder with playbooks and roles: in the checkout, or in the wheel."""
    packaged = ROOM / "ansible"
    return packaged if packaged.is_dir() else CHECKOUT / "ansible"


def _build(checkout: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--wheel-dir", str(folder)]
    if find_spec("hatchling"):  # without it pip downloads it for the build
        command.append("--no-build-isolation")
    try:
        subprocess.run(
            [*command, str(checkout)],
            check=True,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
        )
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise ReleaseError(f"the wheel of {checkout}: {said[-1]}") from error
    return _only_wheel(folder)


def _only_wheel(folder: Path) -> Path:
    wheels = sorted(folder.glob(f"{DISTRIBUTION}-*.whl"))
    if len(wheels) != 1:
        raise ReleaseError(f"{folder}: expected one wheel, found {len(wheels)}")
    return wheels[0]


def pack_installed(distribution: metadata.Distribution, folder: Path) -> Path:
    """The installed files as a wheel again; the same files give the same bytes."""
    files = sorted(_files_of_wheel(distribution))
    wheel = folder / f"{DISTRIBUTION}-{distribution.version}-py3-none-any.whl"
    record_name = f"{DISTRIBUTION}-{distribution.version}.dist-info/RECORD"
    records: list[str] = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files:
            content = _read(path)
            _write(archive, name, content)
            records.append(_record(name, content))
        lines = "\n".join([*records, f"{record_name},,", ""])
        _write(archive, record_name, lines.encode())
    return wheel


def _files_of_wheel(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    """Name in the wheel and place on disk, without scripts, caches and marks."""
    for file in distribution.files or ():
        added = file.parts[0].endswith(".dist-info") and file.name in ADDED
        if not (added or file.suffix == ".pyc" or ".." in file.parts):
            yield file.as_posix(), Path(str(distribution.locate_file(file)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(
            f"{path}: cannot be read ({error.strerror}); install edgewhisk again:"
            " pip install --force-reinstall --no-deps edgewhisk"
        ) from error


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, date_time=EPOCH)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def _record(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"{name},sha256={digest.decode()},{len(content)}"
