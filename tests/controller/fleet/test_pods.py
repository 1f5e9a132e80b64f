"""What is told of a cluster's pods; `tests/controller/cluster` has a real API server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.fleet.entries import Cluster
from controller.fleet.pods import Pod, PodsError, pod_of, pods_of, waiting


def document(phase: str, *, ready: bool = False, reason: str = "") -> dict[str, Any]:
    """As the client gives it."""
    state = {"waiting": {"reason": reason} if reason else None}
    container = {"ready": ready, "restart_count": 2, "state": state}
    return {
        "metadata": {
            "name": "owdev-invoker-0",
            "labels": {"name": "owdev-invoker"},
            "creation_timestamp": datetime.now(UTC) - timedelta(minutes=2),
        },
        "spec": {"node_name": "node1"},
        "status": {"phase": phase, "container_statuses": [container]},
    }


def pod(name: str, *, ready: bool, phase: str = "Running") -> Pod:
    role = name.partition("-")[0]
    return Pod(name=name, role=role, phase=phase, ready=ready, restarts=0)


def test_a_pod_is_told_as_people_know_it() -> None:
    running = pod_of(document("Running", ready=True), "owdev")
    stuck = pod_of(document("Pending", reason="ImagePullBackOff"), "owdev")
    done = pod_of(document("Succeeded"), "owdev")

    assert (running.role, running.ready, running.restarts) == ("invoker", True, 2)
    assert running.age_s is not None
    assert 119 < running.age_s < 180
    assert (stuck.ready, stuck.reason) == (False, "ImagePullBackOff")
    assert done.ready


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        ([], "2 invoker(s)"),
        ([pod("invoker-0", ready=True)], "1 invoker(s)"),
        ([pod("invoker-0", ready=True), pod("invoker-1", ready=True)], ""),
        (
            [pod("invoker-0", ready=True), pod("invoker-1", ready=False)],
            "invoker-1 (Running)",
        ),
        (
            [
                pod("invoker-0", ready=True),
                pod("invoker-1", ready=True),
                pod("couchdb-0", ready=False, phase="Pending"),
            ],
            "couchdb-0 (Pending)",
        ),
    ],
)
def test_what_is_waited_for_is_named(pods: list[Pod], told: str) -> None:
    assert waiting(pods, invokers=2) == told


def test_a_cluster_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("kubernetes", reason="pip install 'edgewhisk[kubernetes]'")
    nowhere = Cluster(namespace="a", release="b", kubeconfig=str(tmp_path / "none"))

    with pytest.raises(PodsError, match="no way to the cluster"):
        pods_of(nowhere)
