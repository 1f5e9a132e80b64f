"""A real Prometheus asks a real node; every dashboard's query is put to it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from controller import local_monitoring
from controller.deploy.release import find_ansible
from controller.fleet.local_state import LocalNode, LocalService
from controller.local import LocalFleet
from controller.local_monitoring import NoPrometheus

ROLE = find_ansible() / "roles" / "monitoring" / "files"
DASHBOARDS = sorted((ROLE / "dashboards").glob("*.json"))
RULES_TEST = Path(__file__).parents[1] / "data" / "edgewhisk-rules-test.yml"
SCRAPE_S = 0.5
PROMTOOL = shutil.which("promtool", path=local_monitoring._PATH) or "promtool"
ACTIONS = {
    "good": "def main(args):\n    return {'statusCode': 201, 'body': 'x'}\n",
    "bad": "def main(args):\n    raise ValueError('no')\n",
    "broken": "def main(args):\n    return 5\n",
}
#: What Grafana puts in; `.*` is "All".
FILLED = {
    **dict.fromkeys(("$__range", "$interval"), "1m"),
    **dict.fromkeys(("$region", "$stack", "$namespace", "$action"), ".*"),
    **dict.fromkeys(("$initiator", "$node"), ".*"),
}


def queries(dashboard: Path) -> Iterator[tuple[str, str]]:
    """Title and query of every panel."""
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for name, value in FILLED.items():
                query = query.replace(name, value)
            yield panel["title"], query


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, path: str, **query: str) -> Any:
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(query)}", timeout=5) as got:
            return json.load(got)["data"]

    def value(self, query: str) -> float:
        found = self("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def wait_for(self, query: str, least: float) -> None:
        until = time.monotonic() + 15
        while self.value(query) < least:
            assert time.monotonic() < until, f"{query} stays {self.value(query)}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFleet]:
    fleet = LocalFleet(tmp_path_factory.mktemp("local"), scrape_s=SCRAPE_S)
    fleet.up(1, broker=False, monitoring=True)
    yield fleet
    fleet.down()
    assert not any(process.alive for process in fleet.status().processes)


@pytest.fixture(scope="module")
def prometheus(watched: LocalFleet) -> Prometheus:
    """After some work of the node has been seen more than once."""
    state = watched.status()
    found = Prometheus(state.services[0].url)
    load(state.nodes[0])
    found.wait_for("sum(openwhisk_userevents_global_activations_total)", 9)
    load(state.nodes[0])
    found.wait_for("sum(openwhisk_userevents_global_activations_total)", 18)
    return found


def load(node: LocalNode) -> None:
    for name, code in ACTIONS.items():
        body = {"exec": {"kind": "python:default", "code": code}}
        call(node, "PUT", f"actions/{name}?overwrite=true", body)
        for _ in range(3):
            call(node, "POST", f"actions/{name}?blocking=true", {})
    call(node, "GET", "actions")


def call(node: LocalNode, method: str, path: str, body: Any = None) -> None:
    key = base64.b64encode(node.key.encode()).decode()
    headers = {"Authorization": f"Basic {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    url = f"{node.url}/api/v1/namespaces/_/{path}"
    with suppress(HTTPError):  # the bad and the broken one
        urlopen(Request(url, data, headers, method=method), timeout=10).close()


@pytest.mark.prometheus
@pytest.mark.timeout(60)
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_e20_e21_e22_every_query_of_a_dashboard_has_data(
    prometheus: Prometheus, dashboard: Path
) -> None:
    found = {
        (title, query): prometheus("query", query=query)["result"]
        for title, query in queries(dashboard)
    }

    assert len(found) > 3
    assert [one for one, result in found.items() if not result] == []


@pytest.mark.prometheus
@pytest.mark.timeout(60)
def test_what_was_counted_is_what_was_done(prometheus: Prometheus) -> None:
    counts = prometheus("query", query="sum by (status) (openwhisk_action_status)")

    assert {r["metric"]["status"]: r["value"][1] for r in counts["result"]} == {
        "success": "6",
        "application_error": "6",
        "action_developer_error": "6",
    }
    [target] = prometheus("targets")["activeTargets"]
    assert target["labels"] == {
        "instance": target["labels"]["instance"],
        "job": "edgewhisk",
        "node": "node1",
    }


@pytest.mark.prometheus
@pytest.mark.timeout(60)
def test_all_alert_rules_are_watched_and_none_fires(prometheus: Prometheus) -> None:
    [group] = prometheus("rules")["groups"]

    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    firing = {rule["name"] for rule in group["rules"] if rule["state"] != "inactive"}
    # Of the machine that runs this test, no more is known.
    assert firing <= {"DiskNearlyFull", "CpuThrottled", "ClockNotKept"}


@pytest.mark.prometheus
@pytest.mark.timeout(60)
def test_prometheus_is_a_part_of_the_fleet(watched: LocalFleet) -> None:
    before = watched.status().services[0]

    assert not watched.stop("prometheus").services[0].runs
    again = watched.up(broker=False)

    assert again.changed
    assert again.state.services[0].runs
    assert again.state.services[0].port == before.port
    assert not watched.up(broker=False).changed


@pytest.mark.prometheus
def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    service = LocalService(name="prometheus", port=1, log="")
    local_monitoring.write_targets(tmp_path, [])
    local_monitoring.write_configuration(tmp_path, [service], scrape_s=5)
    for arguments in (
        ("check", "rules", str(ROLE / "edgewhisk.rules.yml")),
        ("check", "config", str(tmp_path / "prometheus.yml")),
        ("test", "rules", str(RULES_TEST)),
    ):
        done = subprocess.run(
            [PROMTOOL, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_it_is_about_and_has_a_test() -> None:
    yaml = pytest.importorskip("yaml")
    [group] = yaml.safe_load((ROLE / "edgewhisk.rules.yml").read_text())["groups"]
    tested = RULES_TEST.read_text()

    for rule in group["rules"]:
        assert "$labels.node" in rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"]
        assert f"alertname: {rule['alert']}\n" in tested, rule["alert"]


def test_dashboards_have_names_of_their_own_and_no_panel_over_another() -> None:
    documents = [json.loads(path.read_text()) for path in DASHBOARDS]

    assert len({document["uid"] for document in documents}) == len(documents) == 4
    for document in documents:
        places = [panel["gridPos"] for panel in document["panels"]]
        cells = [
            (x, y)
            for place in places
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells)), document["title"]
        assert max(x for x, _ in cells) < 24


def test_without_prometheus_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_monitoring, "_PATH", str(tmp_path))
    fleet = LocalFleet(tmp_path / "local")

    with pytest.raises(NoPrometheus, match="apt-get install"):
        fleet.up(1, broker=False, monitoring=True)

    assert fleet.status().nodes == []


def test_grafana_is_given_its_source_and_the_dashboards(tmp_path: Path) -> None:
    known = [
        LocalService(name="prometheus", port=9090, log=""),
        LocalService(name="grafana", port=3000, log=""),
    ]
    local_monitoring.write_targets(tmp_path, [])

    local_monitoring.write_configuration(tmp_path, known, scrape_s=5)

    place = tmp_path / "grafana" / "provisioning"
    source = json.loads((place / "datasources" / "edgewhisk.yaml").read_text())
    boards = json.loads((place / "dashboards" / "edgewhisk.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://127.0.0.1:9090"
    assert boards["providers"][0]["options"]["path"] == str(ROLE / "dashboards")
    assert "http_port = 3000" in (tmp_path / "grafana" / "grafana.ini").read_text()
