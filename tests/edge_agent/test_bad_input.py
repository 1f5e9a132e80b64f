"""What a real agent is given that it should not be: an error each time, and it goes on."""

from __future__ import annotations

import base64
import http.client
import io
import json
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

PYTHON, NODE = "python:default", "nodejs:default"
MEBIBYTE = 1 << 20
FINE = "def main(args):\n    return args\n"
BOMB_MB = 80
#: What a bomb runs into first depends on how the sandbox is held.
TOO_MUCH = ("too large", "no space", "efbig", "enospc", "exhausted its memory")


class Client:
    """One connection, opened again when the agent closes it."""

    def __init__(self, agent: Any) -> None:
        self._headers = {
            "Authorization": f"Basic {base64.b64encode(agent.key.encode()).decode()}",
            "Content-Type": "application/json",
        }
        self._netloc = urlsplit(agent.url).netloc

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        text = body if body is None or isinstance(body, bytes) else json.dumps(body)
        connection = http.client.HTTPConnection(self._netloc, timeout=30)
        try:
            url = f"/api/v1/namespaces/_/{path}"
            connection.request(method, url, text, self._headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(said) if is_json else said

    def put(self, name: str, code: str, kind: str = PYTHON, **more: Any) -> None:
        exec_ = {"kind": kind, "code": code}
        status, said = self(
            "PUT", f"actions/{name}?overwrite=true", {"exec": exec_, **more}
        )
        assert status == 200, said

    def invoke(self, name: str, body: Any = None) -> tuple[int, Any]:
        return self("POST", f"actions/{name}?blocking=true&result=true", body)


@pytest.fixture
def client(shared_agent: Any) -> Iterator[Client]:
    """The agent must serve on after all that a test does to it."""
    client = Client(shared_agent)
    client.put("fine", FINE)
    yield client
    assert client.invoke("fine", {"n": 1}) == (200, {"n": 1})
    assert shared_agent.process.poll() is None
    assert "Traceback" not in shared_agent.log.read_text()


def zipped(files: dict[str, bytes]) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return base64.b64encode(buffer.getvalue()).decode()


def tarred(files: dict[str, bytes]) -> str:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.sandbox
@pytest.mark.node
def test_zip_bombs_are_refused_at_init_with_the_reason(client: Client) -> None:
    zeros = bytes(BOMB_MB * MEBIBYTE)
    bombs = {
        "py": (PYTHON, zipped({"zeros": zeros, "__main__.py": FINE.encode()})),
        "js": (NODE, zipped({"zeros": zeros, "index.js": b"exports.main = a => a"})),
        "tgz": (NODE, tarred({"zeros": zeros, "index.js": b"exports.main = a => a"})),
    }
    for name, (kind, code) in bombs.items():
        client.put(name, code, kind)
        status, said = client("POST", f"actions/{name}?blocking=true")
        assert status == 502, said
        assert said["response"]["status"] == "action developer error"
        logs = client("GET", f"activations/{said['activationId']}/logs")[1]["logs"]
        told = f"{said['response']['result']} {logs}".lower()
        assert any(reason in told for reason in TOO_MUCH), told


@pytest.mark.sandbox
@pytest.mark.node
def test_paths_out_of_an_archive_are_refused_at_init(
    client: Client, tmp_path: Path
) -> None:
    outside = f"../../../../../../../..{tmp_path}/out"
    main = {PYTHON: ("__main__.py", FINE), NODE: ("index.js", "exports.main = a => a")}
    for kind, (name, code) in main.items():
        files = {outside: b"x", name: code.encode()}
        client.put("out", zipped(files), kind)
        status, said = client.invoke("out")
        assert status == 502, said
    client.put(
        "out", tarred({outside: b"x", "index.js": b"exports.main = a => a"}), NODE
    )
    assert client.invoke("out")[0] == 502
    assert not (tmp_path / "out").exists()


def test_archives_that_are_none_are_refused_at_init(client: Client) -> None:
    whole = zipped({"__main__.py": FINE.encode()})
    for code in ("UEsDBA==", whole[: len(whole) // 2 // 4 * 4], zipped({"a.py": b""})):
        client.put("torn", code)
        status, said = client("POST", "actions/torn?blocking=true")
        assert (status, said["response"]["status"]) == (502, "action developer error")


@pytest.mark.node
def test_c4_half_a_surrogate_pair_in_a_result_is_an_answer_or_an_error(
    client: Client,
) -> None:
    client.put(
        "half", "function main() { return {s: '\\ud800', t: 'a\\udc00b'} }", NODE
    )
    client.put("halfpy", "def main(args):\n    return {'s': '\\ud800'}\n")
    for name in ("half", "halfpy"):
        status, said = client("POST", f"actions/{name}?blocking=true")
        assert status in (200, 502), said
        found = client("GET", f"activations/{said['activationId']}")
        assert found[0] == 200
        assert found[1]["response"]["success"] is (status == 200)
        assert client("GET", "activations?docs=true")[0] == 200


def test_ten_thousand_parameters_are_taken_and_more_than_a_megabyte_is_not(
    client: Client,
) -> None:
    many = [{"key": f"p{n}", "value": n} for n in range(10_000)]
    client.put(
        "many", "def main(args):\n    return {'n': len(args)}\n", parameters=many
    )
    began = time.monotonic()
    for _ in range(5):
        assert client.invoke("many", {"p1": "given", "own": 1}) == (200, {"n": 10_001})
    assert time.monotonic() - began < 5
    much = [{"key": "p", "value": "x" * MEBIBYTE}]
    exec_ = {"kind": PYTHON, "code": FINE}
    status, said = client("PUT", "actions/much", {"exec": exec_, "parameters": much})
    assert (status, said["error"].split(":")[0]) == (
        413,
        "parameters larger than allowed",
    )
    assert client("GET", "actions/much")[0] == 404


def test_huge_json_is_read_and_answered_in_time(client: Client) -> None:
    wide = json.dumps({f"k{n}": [n] for n in range(50_000)}).encode()
    deep = b'{"a":' + b"[" * 490 + b"]" * 490 + b"}"
    keys = b"{" + b",".join([b'"a":1'] * 150_000) + b"}"
    numbers = b'{"a":[' + b",".join([b"1e400"] * 1000) + b"]}"
    for body in (wide, deep, keys):
        assert len(body) < MEBIBYTE
        began = time.monotonic()
        status, said = client.invoke("fine", body)
        assert status == 200, said
        assert time.monotonic() - began < 5
    assert client.invoke("fine", numbers)[0] in (200, 400)
    assert client.invoke("fine", b'{"a":' + b"[" * 100_000)[0] == 400


def test_a7_urls_of_8_kib_are_read_and_longer_ones_refused(client: Client) -> None:
    base = len("/api/v1/namespaces/_/")
    for name in ("a" * 300, "%41" * 100, "%00", "%ff", "..%2f..", "a%2fb/c"):
        assert client("GET", f"actions/{name}")[0] in (400, 404), name
    fits = "actions/" + "a" * (8192 - base - len("actions/"))
    assert client("GET", fits)[0] == 400
    assert client("GET", f"{fits}a")[0] == 414
    assert client("GET", f"actions?limit=1&x={'%20' * 2000}")[0] == 200
    assert client("PUT", f"{fits}a", {"exec": {}})[0] == 414


def test_a61c_sequences_in_a_circle_are_refused_however_it_is_closed(
    client: Client,
) -> None:
    def sequence(*components: str) -> dict[str, Any]:
        return {"exec": {"kind": "sequence", "components": list(components)}}

    def refused(path: str, body: dict[str, Any]) -> None:
        place = path.partition("?")[0]
        before = client("GET", place)[1].get("exec")
        status, said = client("PUT", path, body)
        assert status == 400, said
        assert said["error"] == "Sequence may not refer to itself."
        assert client("GET", place)[1].get("exec") == before

    refused("actions/self", sequence("/_/fine", "/_/self"))
    assert client("PUT", "packages/p?overwrite=true", {})[0] == 200
    bound = {"binding": {"namespace": "_", "name": "p"}}
    assert client("PUT", "packages/q?overwrite=true", bound)[0] == 200
    for path, body in (
        ("actions/a", sequence("/_/fine")),
        ("actions/b", sequence("/_/a")),
        ("actions/p/c", sequence("/_/b")),
        ("actions/d", sequence("/_/q/c")),
    ):
        assert client("PUT", path, body)[0] == 200, path
    refused("actions/a?overwrite=true", sequence("/_/d"))
    refused("actions/p/c?overwrite=true", sequence("/_/q/c"))
    assert client.invoke("d", {"n": 1}) == (200, {"n": 1})


def test_a_package_cannot_be_bound_to_itself_or_to_a_binding(client: Client) -> None:
    assert client("PUT", "packages/p?overwrite=true", {})[0] == 200
    to_p = {"binding": {"namespace": "_", "name": "p"}}
    to_q = {"binding": {"namespace": "_", "name": "q"}}
    assert client("PUT", "packages/q?overwrite=true", to_p)[0] == 200
    assert client("PUT", "packages/r", to_q)[0] == 400
    for body in (to_p, to_q):
        assert client("PUT", "packages/p?overwrite=true", body)[0] in (400, 409)
    assert client("GET", "packages/p")[1]["binding"] == {}
    assert (
        client("PUT", "packages/self", {"binding": {"namespace": "_", "name": "self"}})[
            0
        ]
        == 400
    )
    assert client("GET", "packages/self")[0] == 404
