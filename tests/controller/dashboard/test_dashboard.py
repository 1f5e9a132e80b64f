"""The page and `edgectl top` over a real agent, the page in a real browser."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(60)

HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u001b[31mred"
CODE = f"""
def main(args):
    print({HOSTILE!r})
    if args.get("fail"):
        return {{"error": {HOSTILE!r}}}
    return {{"said": {HOSTILE!r}, "more": "y" * args.get("bytes", 0)}}
"""


def ask(
    url: str, method: str = "GET", body: Any = None, key: str = "", **headers: str
) -> tuple[int, Any]:
    given = {"X-Edgewhisk-Key": key} if key else {}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, method=method, data=data, headers={**given, **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def on_agent(agent: Any, method: str, path: str, body: Any = None) -> Any:
    key = base64.b64encode(agent.key.encode()).decode()
    url = f"{agent.url}/api/v1/namespaces/_/{path}"
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    return ask(url, method, body, **headers)[1]


def command(agent: Any, *arguments: str) -> list[str]:
    target = ["--target", agent.url, "--auth", agent.key]
    target += ["--system-auth", agent.system_key]
    return [sys.executable, "-m", "controller", *arguments, *target]


@pytest.fixture
def hello(agent: Any) -> Any:
    body = {"exec": {"kind": "python:default", "code": CODE}}
    on_agent(agent, "PUT", "actions/hello?overwrite=true", body)
    return agent


@pytest.fixture
def dashboard() -> Iterator[Callable[..., str]]:
    started: list[subprocess.Popen[str]] = []

    def start(agent: Any, *options: str) -> str:
        process = subprocess.Popen(
            command(agent, "dashboard", "--port", "0", "--json", *options),
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return str(json.loads(process.stdout.readline())["url"])

    yield start
    for process in started:
        process.terminate()
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()


def eventually(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_the_fleet_and_a_failing_action_are_shown(hello: Any, dashboard: Any) -> None:
    url = dashboard(hello)
    (node,) = eventually(
        lambda: [n for n in ask(f"{url}/api/fleet")[1]["nodes"] if n["up"]]
    )
    assert node["isolation"]
    with urllib.request.urlopen(f"{url}/api/news", timeout=20) as news:
        on_agent(hello, "POST", "actions/hello?blocking=true", {"fail": True})
        while b"event: activation" not in news.readline():
            pass
        row = json.loads(news.readline().removeprefix(b"data: "))
    assert (row["action"], row["status"]) == ("hello", "application error")
    path = f"{url}/api/activation/{node['name']}/{row['id']}"
    record = ask(path)[1]
    assert record["response"]["result"]["error"] == HOSTILE
    assert ask(f"{url}/api/node/{node['name']}")[1]["pool"]["slots"] > 0
    assert ask(f"{url}/api/dead/{node['name']}") == (200, [])
    assert ask(f"{url}/api/node/nobody")[0] == 404


def test_a_long_result_and_long_logs_are_cut_to_what_can_be_shown(
    hello: Any, dashboard: Any
) -> None:
    url = dashboard(hello)
    body = {"bytes": 900_000}
    ended = on_agent(hello, "POST", "actions/hello?blocking=true", body)
    node = ask(f"{url}/api/fleet")[1]["nodes"][0]["name"]
    record = ask(f"{url}/api/activation/{node}/{ended['activationId']}")[1]
    assert not record["result_whole"]
    assert record["result_bytes"] > 900_000
    assert len(json.dumps(record)) < 600_000


def test_it_is_read_only_unless_it_is_told_and_given_the_key(
    hello: Any, dashboard: Any
) -> None:
    url, key = dashboard(hello), hello.key
    node = ask(f"{url}/api/fleet")[1]["nodes"][0]["name"]
    assert ask(f"{url}/api/run/{node}/hello", "POST", {}, key)[0] == 403
    url = dashboard(hello, "--changes")
    run = f"{url}/api/run/{node}/hello"
    assert ask(run, "POST", {})[0] == 403
    assert ask(run, "POST", {}, "wrong:key")[0] == 403
    assert ask(run, "POST", {}, key, Origin="http://evil.example")[0] == 403
    assert ask(f"{url}/api/fleet", Host="evil.example")[0] == 421
    status, ended = ask(run, "POST", {}, key)
    assert (status, ended["success"]) == (200, True)
    assert ask(run, "POST", [1], key)[0] == 400
    assert ask(f"{url}/api/run/{node}/nothing", "POST", {}, key)[0] == 404


def test_pages_carry_a_policy_that_runs_nothing_else(
    agent: Any, dashboard: Any
) -> None:
    url = dashboard(agent)
    size = 0
    for path in ("/", "/app.js", "/style.css"):
        with urllib.request.urlopen(url + path, timeout=20) as answer:
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
            size += len(answer.read())
    assert size < 300 * 1024


@pytest.mark.browser
async def test_a_browser_shows_what_happens_and_runs_nothing_of_it(
    hello: Any, dashboard: Any, browse: Any, tmp_path: Path
) -> None:
    url = dashboard(hello, "--changes")
    page = await browse(url)
    await page.until("document.getElementById('state').textContent === 'live'")
    await page.until("document.querySelector('#nodes .good')?.textContent === 'up'")
    await page.until("document.getElementById('run-node').value")
    await page.run(
        f"""document.getElementById('key').value = {json.dumps(hello.key)};
        document.getElementById('run-action').value = 'hello';
        document.getElementById('run-arguments').value = '{{"fail": true}}';
        document.querySelector('#run-form button').click()"""
    )
    result = "document.getElementById('activation-result').textContent"
    assert HOSTILE in json.loads(await page.until(result))["error"]
    logs = await page.run("document.getElementById('activation-logs').textContent")
    assert "<img src=x" in logs
    await page.until("document.querySelector('#rows .bad')?.textContent")
    assert await page.run("document.images.length") == 0
    assert await page.run("document.title") == "EdgeWhisk"
    await page.run(
        """document.getElementById('filter-text').value = 'nothing like it';
        document.getElementById('filters').dispatchEvent(new Event('input'))"""
    )
    await page.until("document.getElementById('rows').children.length === 0")
    for width in (360, 800, 1280):
        await page.picture(tmp_path / f"dashboard-{width}.png", width)
        wide = await page.run("document.documentElement.scrollWidth")
        assert wide <= width
    said = [text for text in page.complaints if "[DOM]" not in text]
    assert said == []


@pytest.mark.browser
async def test_a_node_that_goes_down_is_shown_as_down(
    agent: Any, dashboard: Any, browse: Any
) -> None:
    page = await browse(dashboard(agent))
    await page.until("document.querySelector('#nodes .good')?.textContent === 'up'")
    agent.kill()
    await page.until("document.querySelector('#nodes .bad')?.textContent === 'down'")
    assert "cannot connect" in await page.run("document.body.innerText")


def test_top_shows_the_fleet_once_where_there_is_no_terminal(agent: Any) -> None:
    ran = subprocess.run(
        command(agent, "top", "--json"), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (node,) = json.loads(ran.stdout)["nodes"]
    assert node["up"]
    agent.stop()
    ran = subprocess.run(
        command(agent, "top"), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "down" in ran.stdout
    assert "Traceback" not in ran.stderr


def test_an_address_that_is_taken_is_one_line(agent: Any, dashboard: Any) -> None:
    port = dashboard(agent).rpartition(":")[2]
    ran = subprocess.run(
        command(agent, "dashboard", "--port", port),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ran.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ran.stderr
