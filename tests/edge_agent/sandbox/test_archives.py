"""Archives that reach out of the action's folder: by paths, and by links in them."""

from __future__ import annotations

import base64
import io
import tarfile
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from edge_agent.model.activations import Answer

if TYPE_CHECKING:
    from tests.edge_agent.sandbox.conftest import Bench, OpenBench


#: Where nothing else stands between an archive and its surroundings.
@pytest.fixture
async def plain(open_bench: OpenBench) -> Bench:
    return await open_bench("rlimits")


LINK = 0o120777 << 16
LOOK = (
    "const fs = require('fs')\n"
    "exports.main = () => ({ up: fs.readdirSync('..').includes('evil'),"
    " here: fs.readdirSync('.').sort() })"
)
#: Name -> text, or `-> target` for a link; made in this order.
OUT: dict[str, dict[str, str]] = {
    "to a file of the system": {"l": "-> /etc/passwd"},
    "up": {"l": "-> ../.."},
    "to the folder above": {"l": "-> .."},
    "in a link that leads up": {"d/l": "-> ..", "d/l/m": "-> ..", "m/evil": "x"},
    "back over a link": {"l": "-> .", "m": "-> l/../evil", "m/evil": "x"},
    "over the process": {"l": "-> /proc/self/cwd/.."},
}
FINE = {
    "lib/real.js": "module.exports = 'real'",
    "lib/a": "-> real.js",
    "b": "-> lib",
    "lib/deep/c": "-> ../../index.js",
}


def zipped(files: dict[str, str]) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system = 3
            if text.startswith("-> "):
                entry.external_attr = LINK
            archive.writestr(entry, text.removeprefix("-> "))
    return base64.b64encode(buffer.getvalue()).decode()


def tarball(files: dict[str, str]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            if text.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, text[3:]
            entry.size = 0 if entry.issym() else len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.node
@pytest.mark.parametrize("name", OUT)
async def test_a_link_out_of_the_action_is_refused(plain: Bench, name: str) -> None:
    code = zipped({"index.js": LOOK, **OUT[name]})
    ran = await plain.refused(code, family="nodejs", binary=True)
    assert "The action archive has a link out of the action" in plain.refusal(ran)


@pytest.mark.node
@pytest.mark.parametrize("pack", [zipped, tarball])
async def test_links_within_the_action_are_made(
    plain: Bench, pack: Callable[[dict[str, str]], str]
) -> None:
    code = pack(
        {
            **FINE,
            "index.js": "exports.main = () => ({ a: require('./lib/a'), b: require('./b/real'),"
            " c: require('fs').readFileSync('lib/deep/c', 'utf8').length > 9 })",
        }
    )
    answer = await plain.once(code, family="nodejs", binary=True)
    assert answer == {"a": "real", "b": "real", "c": True}


@pytest.mark.node
@pytest.mark.parametrize(
    "files",
    [
        {"../evil": "x"},
        {"/evil": "x"},
        {"l": "-> ..", "l/evil": "x"},
        OUT["back over a link"],
    ],
    ids=str,
)
async def test_a_tarball_writes_nothing_above_the_action(
    plain: Bench, files: dict[str, str]
) -> None:
    """Tar leaves such entries out or fails; either will do."""
    code = tarball({"index.js": LOOK, **files})
    sandbox = await plain.create("nodejs")
    ran = await plain.init(sandbox, code, binary=True)
    if isinstance(ran.said, Answer) and ran.said.ok:
        assert not plain.result(await plain.run(sandbox))["up"]
    above = list(plain.factory.folder.iterdir())
    assert "evil" not in {path.name for path in above}


async def test_pythons_zip_makes_no_links(plain: Bench) -> None:
    """They arrive as small files, which is what Python makes of them."""
    code = zipped(
        {
            "__main__.py": "import os\ndef main(args):\n"
            "    return {'link': os.path.islink('l'), 'up': os.path.exists('../evil')}\n",
            "l": "-> ..",
        }
    )
    answer = await plain.once(code, binary=True)
    assert answer == {"link": False, "up": False}
