"""Prometheus for a fleet on this machine, and Grafana where it is installed.

    DIR/monitoring/nodes.json       whom Prometheus asks; read again when it changes
    DIR/monitoring/prometheus.yml   with the alert rules of the role `monitoring`
    DIR/monitoring/grafana/         the data source and the dashboards of that role
    DIR/monitoring/*.log

Both listen on the loopback address only, and everybody there may look.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace

from controller import local_broker
from controller.deploy.release import find_ansible
from controller.fleet.local_state import LocalNode, LocalService
from controller.fleet.process import spawn
from edge_agent.model.errors import EdgeWhiskError

FOLDER = "monitoring"
PROMETHEUS, GRAFANA = "prometheus", "grafana"
HOST = "127.0.0.1"
KEPT = "15d"
#: Where Debian's and Grafana's own packages put things.
_PATH = os.pathsep.join(
    (os.environ.get("PATH", os.defpath), "/usr/sbin", str(Path(sys.executable).parent))
)
GRAFANA_HOME = Path("/usr/share/grafana")


class NoPrometheus(EdgeWhiskError):
    exit_code: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__(
            "no Prometheus here: apt-get install --no-install-recommends prometheus"
            " (its service is not needed: systemctl disable --now prometheus)"
        )


def services() -> list[str]:
    """What can be started here; raises NoPrometheus."""
    found = [name for name in (PROMETHEUS, GRAFANA) if _program(name)]
    if PROMETHEUS not in found:
        raise NoPrometheus
    return found


def new_service(name: str, folder: Path, old: LocalService | None) -> LocalService:
    """One to be started, on its old port if that can be had."""
    port = old.port if old is not None and local_broker.is_free(old.port) else 0
    return LocalService(
        name=name,
        port=port or local_broker.free_port(),
        log=str(folder / f"{name}.log"),
        program=_program(name) or name,
    )


def start_service(service: LocalService, folder: Path) -> LocalService:
    """Raises OSError when it cannot be started."""
    options = _options(service, folder)
    process = spawn(
        [service.program, *options],
        stdout=folder / f"{service.name}.out",
        stderr=Path(service.log),
        environ=os.environ,
    )
    return replace(service, process=process)


def _options(service: LocalService, folder: Path) -> list[str]:
    if service.name == GRAFANA:
        serve = ["server"] if Path(service.program).name == GRAFANA else []
        config = folder / GRAFANA / "grafana.ini"
        return [*serve, "--homepath", str(GRAFANA_HOME), "--config", str(config)]
    return [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--web.listen-address={HOST}:{service.port}",
        "--log.level=warn",
    ]


def write_targets(folder: Path, nodes: Iterable[LocalNode]) -> None:
    """Tell Prometheus whom to ask; it needs no key over the loopback address."""
    groups = [
        {"targets": [f"{HOST}:{node.port}"], "labels": {"node": node.name}}
        for node in nodes
        if node.port
    ]
    folder.mkdir(exist_ok=True, mode=0o700)
    new = folder / "nodes.new"
    new.write_text(json.dumps(groups, indent=2))
    new.replace(folder / "nodes.json")


def write_configuration(
    folder: Path, known: Iterable[LocalService], *, scrape_s: float
) -> None:
    """What both are to read; `known` are the services with their ports."""
    ports = {service.name: service.port for service in known}
    (folder / "prometheus.yml").write_text(prometheus_configuration(folder, scrape_s))
    if GRAFANA in ports:
        _write_grafana(folder / GRAFANA, ports[GRAFANA], ports[PROMETHEUS])


def prometheus_configuration(folder: Path, scrape_s: float) -> str:
    every = f"{round(scrape_s * 1000)}ms"
    rules = _role() / "edgewhisk.rules.yml"
    return f"""\
global:
  scrape_interval: {every}
  scrape_timeout: {every}
  evaluation_interval: {every}
rule_files:
  - {json.dumps(str(rules))}
scrape_configs:
  - job_name: edgewhisk
    file_sd_configs:
      - files: [{json.dumps(str(folder / "nodes.json"))}]
"""


def _write_grafana(folder: Path, port: int, prometheus_port: int) -> None:
    """Anybody on this machine may look at it and nobody may change it."""
    provisioning = folder / "provisioning"
    for name in ("datasources", "dashboards"):
        (provisioning / name).mkdir(parents=True, exist_ok=True)
    (folder / "grafana.ini").write_text(
        f"[paths]\ndata = {folder}/data\nlogs = {folder}/logs\n"
        f"provisioning = {provisioning}\n"
        f"[server]\nhttp_addr = {HOST}\nhttp_port = {port}\n"
        "[auth.anonymous]\nenabled = true\norg_role = Viewer\n"
        "[analytics]\nreporting_enabled = false\ncheck_for_updates = false\n"
    )
    source = {
        "name": "Prometheus",
        "uid": "prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": f"http://{HOST}:{prometheus_port}",
        "isDefault": True,
    }
    provider = {
        "name": "edgewhisk",
        "type": "file",
        "options": {"path": str(_role() / "dashboards")},
    }
    _write_json(provisioning / "datasources" / "edgewhisk.yaml", "datasources", source)
    _write_json(provisioning / "dashboards" / "edgewhisk.yaml", "providers", provider)


def _write_json(path: Path, key: str, entry: object) -> None:
    """JSON is YAML."""
    path.write_text(json.dumps({"apiVersion": 1, key: [entry]}, indent=2))


def _role() -> Path:
    return find_ansible() / "roles" / "monitoring" / "files"


def _program(name: str) -> str | None:
    """Grafana's server is called what its version calls it."""
    if name == PROMETHEUS:
        return shutil.which(PROMETHEUS, path=_PATH)
    if not GRAFANA_HOME.is_dir():
        return None
    found = (shutil.which(n, path=_PATH) for n in (GRAFANA, "grafana-server"))
    return next(filter(None, found), None)
