"""A virtual machine with Debian's kernel: control groups of version 2, as Pis have them.

The kernel is Debian's cloud kernel, taken from its package, or what EW_KERNEL names. The
root is made here: a Python, bubblewrap, this checkout, and `guest.py` which runs there.
Without KVM the processor is emulated; it takes a minute.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

import edge_agent

HERE = Path(__file__).parent
PROGRAMS = ("bwrap", "setpriv", "true", "sleep", "env")
PYTHON = "/usr/bin/python3"
LEFT_OUT = {"test", "idlelib", "tkinter", "lib2to3", "ensurepip", "turtledemo"}
BOOT_TIMEOUT_S = 600.0


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the guest's checks came to: name -> `ok`, or what was wrong."""
    home = tmp_path_factory.mktemp("kernel")
    kernel = _kernel(home)
    root = home / "root"
    _build(root)
    initrd = home / "initrd"
    _pack(root, initrd)
    log = home / "console"
    command = [
        *("qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-smp", "1", "-m", "1536"),
        *("-nographic", "-no-reboot", "-net", "none"),
        *("-kernel", str(kernel), "-initrd", str(initrd)),
        *("-append", "console=ttyS0 quiet panic=-1 rdinit=/init"),
    ]
    with log.open("wb") as console:
        machine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    try:
        machine.wait(BOOT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        machine.kill()
        machine.wait()
    said = log.read_text(errors="replace")
    shutil.rmtree(root, ignore_errors=True)
    found = dict(re.findall(r"CHECK (\S+) (.*?)\r?$", said, re.MULTILINE))
    assert found, f"the machine said nothing of use: {said[-3000:]}"
    return found


def _kernel(home: Path) -> Path:
    if given := os.environ.get("EW_KERNEL"):
        return Path(given)
    asked = subprocess.run(
        ["apt-cache", "depends", "linux-image-cloud-amd64"],
        capture_output=True,
        text=True,
        check=True,
    )
    package = re.findall(r"Depends: (linux-image-\S+)", asked.stdout)[0]
    subprocess.run(
        ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package],
        cwd=home,
        check=True,
        capture_output=True,
    )
    (archive,) = home.glob("linux-image-*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(home / "package")], check=True)
    (kernel,) = (home / "package/boot").glob("vmlinuz-*")
    return kernel


def _build(root: Path) -> None:
    """Programs with their libraries, Python's own modules, msgspec and this checkout."""
    python = os.path.realpath(PYTHON)
    found = [shutil.which(name) or name for name in PROGRAMS]
    library = Path(f"/usr/lib/{Path(python).name}")
    _copy_tree(library, root / str(library).lstrip("/"))
    packages = root / "src"
    _copy_tree(Path(msgspec.__file__).parent, packages / "msgspec")
    _copy_tree(Path(edge_agent.__file__).parent, packages / "edge_agent")
    shutil.copy(HERE / "guest.py", packages)
    extensions = map(str, root.rglob("*.so"))
    files = {PYTHON: python, "/bin/busybox": "/bin/busybox"} | {f: f for f in found}
    for file in (python, *found, *extensions):
        files |= {lib: lib for lib in _libraries(file)}
    for inside, outside in files.items():
        place = root / inside.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(outside), place)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    shutil.copy(HERE / "init.sh", root / "init")
    (root / "init").chmod(0o755)
    for name in ("dev", "lib"):
        (root / name).mkdir(exist_ok=True)


def _copy_tree(source: Path, target: Path) -> None:
    def left_out(_: str, names: list[str]) -> set[str]:
        return {n for n in names if n in LEFT_OUT or n == "__pycache__"}

    shutil.copytree(source, target, ignore=left_out)


def _libraries(file: str) -> set[str]:
    listed = subprocess.run(["ldd", file], capture_output=True, text=True, check=False)
    return set(re.findall(r"(/\S+) \(0x", listed.stdout))


def _pack(root: Path, initrd: Path) -> None:
    listed = subprocess.run(
        ["find", ".", "-print0"], cwd=root, capture_output=True, check=True
    )
    packed = subprocess.run(
        ["cpio", "--null", "--create", "--format=newc", "--quiet"],
        cwd=root,
        input=listed.stdout,
        capture_output=True,
        check=True,
    )
    initrd.write_bytes(gzip.compress(packed.stdout, 1))
