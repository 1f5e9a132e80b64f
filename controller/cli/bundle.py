"""`edgectl bundle`: what nodes without a network need, in one folder."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from controller.cli.call import with_output
from controller.cli.output import Output

Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to fill.")
]
Architecture = Annotated[
    list[str] | None,
    typer.Option("--arch", metavar="ARCH", help="aarch64, x86_64 (default: both)."),
]
Python = Annotated[
    list[str] | None,
    typer.Option(
        "--python", metavar="VERSION", help="3.11, 3.12, 3.13 (default: all)."
    ),
]
Packages = Annotated[
    bool,
    typer.Option(
        "--packages/--no-packages",
        help="Also Debian's packages, for this machine's release.",
    ),
]
Gpio = Annotated[bool, typer.Option("--gpio", help="Also what the pins need.")]
Broker = Annotated[
    bool, typer.Option("--broker", help="Also mosquitto (with --packages).")
]
#: As the role's edge_agent_packages.
SYSTEM = ("python3-venv", "bubblewrap")


@with_output
def bundle(
    out: Output,
    *,
    folder: Out = Path("bundle"),
    arch: Architecture = None,
    python: Python = None,
    packages: Packages = False,
    gpio: Gpio = False,
    broker: Broker = False,
) -> None:
    """Fetch all that nodes need, so that `deploy --wheelhouse DIR` needs no network.

    32-bit systems are not among them: some wheels do not exist for those.
    """
    from controller.deploy.bundle import ARCHITECTURES, PYTHONS, kinds, make_bundle
    from controller.deploy.release import make_release

    wanted = (*SYSTEM, "mosquitto") if broker else SYSTEM
    with TemporaryDirectory(prefix="edgewhisk-") as temporary:
        release = make_release(Path(temporary))
        make_bundle(
            release,
            folder,
            wanted=list(kinds(arch or ARCHITECTURES, python or PYTHONS)),
            packages=wanted if packages else (),
            extras="agent,gpio" if gpio else "agent",
            say=out.say,
        )
    files = sorted(path.name for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    out.ok(f"{len(files)} files, {size >> 20} MB, in {folder}")
    out.hint(f"next: edgectl deploy --wheelhouse {folder}")
    if out.json:
        out.document({"dir": str(folder), "files": files, "bytes": size})
