"""C32: requirements.txt, met from a folder of wheels; modules for Node."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent import settings
from edge_agent.model.errors import SettingsError
from edge_agent.sandbox.packages import (
    Packages,
    PackagesError,
    make_packages_folder,
    read_requirements,
)
from edge_agent.sandbox.pip import reason

if TYPE_CHECKING:
    from tests.edge_agent.sandbox.conftest import OpenBench

NEEDS = "The packages that the action requires cannot be installed:"
MAIN = "import tomlike\ndef main(args): return {'v': tomlike.V, 'at': tomlike.__file__}"


def make_wheel(folder: Path, name: str, version: str, *, needs: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"V = '{version}'\n")
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        )
        wheel.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def shop() -> Iterator[Path]:
    """A folder that sandboxes may read, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="edgewhisk-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "wheels").mkdir()
    make_wheel(folder / "wheels", "tomlike", "1.0")
    make_wheel(folder / "wheels", "tomlike", "1.5")
    make_wheel(folder / "wheels", "needy", "2.0", needs="tomlike<1.2")
    yield folder
    shutil.rmtree(folder)


def runtimes(shop: Path) -> settings.Runtimes:
    return settings.Runtimes(
        python=settings.PythonRuntime(
            wheels=str(shop / "wheels"), packages=str(shop / "packages")
        )
    )


@pytest.mark.sandbox
@pytest.mark.parametrize("level", ["full", "namespaces", "rlimits"])
async def test_c32_what_is_required_is_built_once_and_importable(
    open_bench: OpenBench, shop: Path, level: str
) -> None:
    bench = await open_bench(level, runtimes=runtimes(shop))
    code = bench.zipped({"__main__.py": MAIN, "requirements.txt": "tomlike>=1.1 # x\n"})

    first = await bench.once(code, binary=True)
    (built,) = (shop / "packages").iterdir()
    stamp = (built / "tomlike.py").stat().st_mtime_ns
    second = await bench.once(code, binary=True)

    assert first["v"] == "1.5"
    assert first["at"] == f"{built}/tomlike.py"
    assert second == first
    assert (built / "tomlike.py").stat().st_mtime_ns == stamp
    assert list((shop / "packages").iterdir()) == [built]


@pytest.mark.sandbox
async def test_c32_what_cannot_be_had_is_told(
    open_bench: OpenBench, shop: Path
) -> None:
    bench = await open_bench("full", runtimes=runtimes(shop))

    async def said(requirements: str) -> str:
        files = {"__main__.py": MAIN, "requirements.txt": requirements}
        return bench.refusal(await bench.refused(bench.zipped(files), binary=True))

    missing, escaping = await asyncio.gather(
        said("needy==2.0\nnosuch-thing==3"), said("tomlike @ file:///etc/passwd")
    )
    assert missing == f"{NEEDS} no wheel of this node's folder is nosuch-thing==3."
    assert escaping.startswith(f"{NEEDS} requirements.txt: 'tomlike @ file")
    assert list((shop / "packages").iterdir()) == []


@pytest.mark.sandbox
async def test_c32_without_wheels_the_node_says_what_is_missing(
    open_bench: OpenBench,
) -> None:
    bench = await open_bench("full")
    code = bench.zipped({"__main__.py": MAIN, "requirements.txt": "tomlike"})
    said = bench.refusal(await bench.refused(code, binary=True))
    assert "runtimes.python.wheels" in said


@pytest.mark.sandbox
async def test_c31_a_virtualenv_goes_before_requirements(
    open_bench: OpenBench, shop: Path
) -> None:
    bench = await open_bench("full", runtimes=runtimes(shop))
    files = {
        "__main__.py": "def main(args): return {}",
        "requirements.txt": "nosuch",
        "virtualenv/bin/activate_this.py": "",
    }
    assert await bench.once(bench.zipped(files), binary=True) == {}


@pytest.mark.sandbox
async def test_what_an_action_asks_itself_is_not_answered(
    open_bench: OpenBench, shop: Path
) -> None:
    bench = await open_bench("full", runtimes=runtimes(shop))
    code = "import os\ndef main(args):\n    os.write(3, b'?[\"tomlike\"]\\n')\n    return {}"
    sandbox = await bench.ready(code)
    await bench.run(sandbox)
    await asyncio.wait_for(asyncio.shield(sandbox.exited), 5)
    assert not list((shop / "packages").iterdir())


def test_a_folder_that_sandboxes_cannot_see_is_refused(tmp_path: Path) -> None:
    python = settings.PythonRuntime(wheels="/w", packages="/tmp/hidden/packages")
    with pytest.raises(SettingsError, match="have a /tmp of their own"):
        make_packages_folder(python, tmp_path)
    assert make_packages_folder(settings.PythonRuntime(), tmp_path) is None


@pytest.mark.parametrize(
    "line",
    [
        "-r other.txt",
        "--index-url http://x/",
        "tomlike @ http://x/y.whl",
        "./tomlike.whl",
        "/etc/passwd",
        "git+https://x/y",
        "a b",
    ],
)
def test_only_names_and_versions_are_taken(line: str) -> None:
    with pytest.raises(PackagesError):
        read_requirements(line)


def test_order_and_comments_do_not_matter() -> None:
    text = "# ours\nb>=1,<2 ; python_version>'3.8'\n\na[x,y] == 1.0 # why\n"
    assert read_requirements(text) == [
        "a[x,y] == 1.0",
        "b>=1,<2 ; python_version>'3.8'",
    ]


def test_the_last_of_pips_errors_is_what_it_comes_to() -> None:
    said = (
        "WARNING: x\nERROR: Could not find a version (from versions: none)\n"
        "ERROR: No matching distribution found for nosuch\n"
    )
    assert reason(said) == "no wheel of this node's folder is nosuch"
    assert reason("Traceback\nOSError: full") == "OSError: full"
    assert reason("") == "pip failed"


def packages(folder: Path, build: Any, used: set[str], most: int = 25) -> Packages:
    return Packages(folder, kind="p", build=build, most_bytes=most, in_use=lambda: used)


async def test_what_was_not_used_for_longest_goes_unless_it_is_in_use(
    tmp_path: Path,
) -> None:
    built: list[Sequence[str]] = []

    def build(lines: Sequence[str], folder: Path) -> None:
        built.append(lines)
        (folder / "x").write_bytes(bytes(10))

    used: set[str] = set()
    ours = packages(tmp_path / "p", build, used)
    places = [await ours.of(name) for name in ("a", "b")]
    await ours.of("a")
    third = await ours.of("c")
    assert [Path(p).exists() for p in (*places, third)] == [True, False, True]

    used |= {places[0], third}
    with pytest.raises(PackagesError, match="packages_mb"):
        await ours.of("d")
    assert len(list((tmp_path / "p").iterdir())) == 2


async def test_those_who_ask_at_once_wait_for_one_build(tmp_path: Path) -> None:
    built: list[Sequence[str]] = []

    def build(lines: Sequence[str], folder: Path) -> None:
        built.append(lines)

    ours = packages(tmp_path, build, set())
    assert len(set(await asyncio.gather(*(ours.of("a\nb") for _ in range(9))))) == 1
    assert built == [["a", "b"]]


@pytest.mark.node
@pytest.mark.sandbox
@pytest.mark.parametrize("level", ["full", "rlimits"])
async def test_c43_modules_of_the_nodes_folder_are_requirable(
    open_bench: OpenBench, shop: Path, level: str
) -> None:
    module = shop / "node_modules" / "openwhisk"
    module.mkdir(parents=True)
    (module / "index.js").write_text("module.exports = () => 'a client'")
    wanted = settings.Runtimes(
        nodejs=settings.NodeRuntime(modules=(str(shop / "node_modules"),))
    )
    bench = await open_bench(level, runtimes=wanted)
    code = "const ow = require('openwhisk')\nfunction main () { return { it: ow() } }"
    assert await bench.once(code, family="nodejs") == {"it": "a client"}
