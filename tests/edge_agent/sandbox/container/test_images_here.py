"""Images of a real engine: pulled from a registry on this machine, and pinned."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edge_agent.sandbox.base import ActionToBlame

pytestmark = [pytest.mark.docker, pytest.mark.engines, pytest.mark.timeout(60)]

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class Registry:
    """Serves one image, as registries do; counts what was asked for."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}/edgewhisk/pulled:1"

    @property
    def digest(self) -> str:
        return _digest(self.manifest)

    def fill(self, root: bytes, command: list[str]) -> None:
        layer = gzip.compress(root, 1)
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": command},
            "rootfs": {"type": "layers", "diff_ids": [_digest(root)]},
        }
        config = json.dumps(document).encode()
        self.blobs = {_digest(one): one for one in (layer, config)}
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _described(config, "container.image.v1+json"),
                "layers": [_described(layer, "image.rootfs.diff.tar.gzip")],
            }
        ).encode()

    def answer(self, path: str) -> tuple[str, bytes] | None:
        self.asked.append(path)
        last = path.rpartition("/")[2]
        if "/manifests/" in path and last in {"1", self.digest}:
            return MANIFEST, self.manifest
        if last in self.blobs:
            return "application/octet-stream", self.blobs[last]
        return ("application/json", b"{}") if path == "/v2/" else None


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _described(data: bytes, kind: str) -> dict[str, Any]:
    media = f"application/vnd.docker.{kind}"
    return {"mediaType": media, "size": len(data), "digest": _digest(data)}


@pytest.fixture
def registry(root_file_system: bytes, command: list[str]) -> Iterator[Registry]:
    registry = Registry()
    registry.fill(root_file_system, command)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            found = registry.answer(self.path)
            kind, data = found or ("application/json", b"{}")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Docker-Content-Digest", _digest(data))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815 the library's name

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        registry.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield registry
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def without_it(docker: Any, registry: Registry) -> Iterator[None]:
    """Each test finds the image not pulled."""
    yield
    for image in docker.call("GET", "/images/json"):
        if registry.name in (image["RepoTags"] or ()) or any(
            str(registry.port) in digest for digest in image["RepoDigests"] or ()
        ):
            docker.call("DELETE", f"/images/{image['Id']}?force=true")


async def test_an_image_is_pulled_once_for_all_that_wait(
    make_house: Any, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    house = await make_house()
    kind = f"blackbox:{registry.name}"
    sandboxes = await asyncio.gather(*(house.sandbox(kind=kind) for _ in range(3)))
    assert (await house.init(sandboxes[2], "def main(a): return a")).said.ok
    assert sum("/manifests/" in path for path in registry.asked) <= 2
    assert f"pulling image {registry.name}" in caplog.text
    assert f"image {registry.name} is here" in caplog.text


async def test_an_image_is_pinned_by_its_digest(
    make_house: Any, registry: Registry
) -> None:
    pins = {registry.name: registry.digest}
    house = await make_house(pins=pins)
    sandbox = await house.sandbox(kind=f"blackbox:{registry.name}")
    assert (await house.init(sandbox, "def main(a): return a")).said.ok
    assert any(path.endswith(registry.digest) for path in registry.asked)


async def test_an_image_of_another_digest_than_its_pin_does_not_run(
    make_house: Any, registry: Registry
) -> None:
    wanted = "sha256:" + "0" * 64
    unpinned = await make_house()
    await unpinned.sandbox(kind=f"blackbox:{registry.name}")
    house = await make_house(pins={registry.name: wanted})
    with pytest.raises(ActionToBlame, match="Failed to pull container image"):
        await house.sandbox(kind=f"blackbox:{registry.name}")


async def test_a_node_that_pulls_nothing_runs_what_is_here(
    make_house: Any, registry: Registry
) -> None:
    house = await make_house(pull="never")
    with pytest.raises(ActionToBlame, match="the node pulls none"):
        await house.sandbox(kind=f"blackbox:{registry.name}")
    assert not registry.asked
    await house.sandbox()
