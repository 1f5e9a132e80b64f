"""docs/kinds.md: its commands are run on a real agent, and Bash becomes a kind."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Agent, AgentFactory

ROOT = Path(__file__).parents[2]
SETTINGS = """
[sandbox]
minimum_level = "rlimits"
[runtimes]
kinds = "{kinds}"
"""
pytestmark = pytest.mark.sandbox


def commands(name: str) -> list[str]:
    """The shell blocks of a page of the documentation."""
    text = (ROOT / "docs" / name).read_text()
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(script: str, **variables: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(agent: Agent, method: str, path: str, body: Any = None) -> Any:
    request = urllib.request.Request(agent.url + path, method=method)
    if path != "/":
        key = agent.key if path.startswith("/api") else agent.system_key
        key = base64.b64encode(key.encode()).decode()
        request.add_header("Authorization", f"Basic {key}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


@pytest.fixture
def bash(tmp_path: Path, agent_factory: AgentFactory) -> Agent:
    """An agent for which the page's own command has put Bash in place."""
    kinds = tmp_path / "kinds"
    (install,) = [each for each in commands("kinds.md") if "$KINDS" in each]
    run(install, KINDS=str(kinds))
    (kinds / "broken.toml").write_text('[ruby]\nlauncher = "no.rb"\n')
    return agent_factory(settings=SETTINGS.format(kinds=kinds))


def put(agent: Agent, name: str, **executed: Any) -> Any:
    path = f"/api/v1/namespaces/_/actions/{name}?overwrite=true"
    return ask(agent, "PUT", path, {"exec": executed})


def invoke(agent: Agent, name: str, arguments: Any = None) -> Any:
    path = f"/api/v1/namespaces/_/actions/{name}?blocking=true"
    return ask(agent, "POST", path, arguments or {})


def test_the_commands_of_the_page_add_bash_and_run_programs(bash: Agent) -> None:
    node = {"OPENWHISK_APIHOST": bash.url, "OPENWHISK_AUTH": bash.key}
    said = [run(each, **node) for each in commands("kinds.md") if "$KINDS" not in each]

    assert '"TEXT": "HELLO"' in said[0]
    assert "Hello, Pi!" in said[1]


def test_a_kind_of_a_manifest_is_listed_and_serves_many(bash: Agent) -> None:
    runtimes = ask(bash, "GET", "/")["runtimes"]
    (kind,) = [entry["kind"] for entry in runtimes["bash"] if entry["default"]]
    code = (ROOT / "examples/kinds/bash/hello.sh").read_text()

    assert re.fullmatch(r"bash:\d\.\d", kind)
    assert put(bash, "hi", kind="bash:5", code=code)["exec"]["kind"] == "bash:5"
    for name in ("Ada", "Bob", "Zoë"):
        record = invoke(bash, "hi", {"name": name, "more": ',"namespace":"x"'})
        assert record["response"]["result"] == {"greeting": f"Hello, {name}!"}
        assert record["logs"] == []  # they are in the record a moment later
    assert "ruby" not in runtimes
    node = ask(bash, "GET", "/edge/v1/node")
    assert any("ruby.interpreter must be" in text for text in node["kinds_missing"])
    assert "ruby.interpreter must be" in bash.log.read_text()


def test_an_action_of_a_manifests_kind_fails_as_others_do(bash: Agent) -> None:
    put(bash, "none", kind="bash:default", code="other() { :; }")
    put(bash, "fails", kind="bash:default", code='main() { echo "$1" >&2; return 4; }')
    put(bash, "text", kind="bash:default", code="main() { echo text; }")
    put(
        bash,
        "told",
        kind="bash:default",
        code='main() { echo "[\\"$__OW_NAMESPACE\\"]"; }',
    )

    none = invoke(bash, "none")["response"]
    fails = invoke(bash, "fails", {"a": 1})["response"]
    text = invoke(bash, "text")["response"]

    assert none["status"] == "action developer error"
    assert none["result"] == {"error": "There is no function main."}
    assert fails["status"] == "application error"
    assert fails["result"] == {"error": "main ended with 4."}
    assert text["status"] == "action developer error"
    assert invoke(bash, "told") == ["guest"]


def test_a_zip_of_a_manifests_kind_brings_its_files(bash: Agent) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("main.sh", '. ./more.sh; greet() { echo "{\\"n\\":$N}"; }')
        archive.writestr("more.sh", "N=7")
    code = base64.b64encode(buffer.getvalue()).decode()
    put(bash, "zipped", kind="bash:default", code=code, main="greet")

    assert invoke(bash, "zipped")["response"]["result"] == {"n": 7}


def test_a59_a_kind_that_is_gone_for_good_is_refused_with_the_reason(
    bash: Agent,
) -> None:
    error = put(bash, "old", kind="python:2", code="x")["error"]

    assert "'python:2' is not supported by this platform. Valid values are: " in error
    assert error.endswith("port the action and use python:3.")
