"""`edgectl deploy --engine openwhisk --on kubernetes` against a real API server.

The chart is a small one with the value keys of Apache OpenWhisk's own, and an agent of
ours is what callers reach under the cluster's host: it speaks the same API.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import AgentFactory
from tests.controller.cluster.conftest import Plane, environment, free_ports

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(400)]

CHART = Path(__file__).parent / "chart"
SIZE = {
    "openwhisk_controllers": 2,
    "openwhisk_invokers": 3,
    "openwhisk_containers_per_invoker": 4,
    "openwhisk_memory_per_container_mb": 128,
    "openwhisk_invocations_per_minute": 9000,
    "openwhisk_concurrent_invocations": 700,
}
ROUTES = [
    ("route.openshift.io", "Route", "routes", "Namespaced"),
    ("config.openshift.io", "Ingress", "ingresses", "Cluster"),
]

Edgectl = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def edgectl(tmp_path: Path) -> Iterator[Edgectl]:
    """`edgectl ARGUMENTS` in a home of its own, not waited for."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "controller", *arguments],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def variables(tmp_path: Path, **more: Any) -> tuple[str, str]:
    file = tmp_path / "cluster.yaml"
    file.write_text(json.dumps({"openwhisk_chart": str(CHART), **SIZE, **more}))
    return ("--var-file", str(file))


def on_cluster(verb: str) -> tuple[str, ...]:
    return (verb, "--engine", "openwhisk", "--on", "kubernetes")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, talk = process.communicate(timeout=240)
    return process.returncode, out, talk


def test_a_check_renders_and_validates_without_a_cluster(
    edgectl: Edgectl, tmp_path: Path
) -> None:
    given = variables(tmp_path, openwhisk_kubeconfig="/none", openwhisk_host="ow.test")

    good = ended(edgectl(*on_cluster("deploy"), *given, "--check", "--json"))
    bad = ended(
        edgectl(
            *on_cluster("deploy"),
            *given,
            *(
                "--check",
                "--json",
                "--var",
                'openwhisk_values={"nginx":{"httpsPort":0.5}}',
            ),
        )
    )
    none = ended(edgectl(*on_cluster("deploy"), "--json"))

    assert good[0] == 0, good[2]
    assert "rendered and valid: 2 Secret, 1 ConfigMap" in good[2]
    assert bad[0] == 1
    assert "Service owdev-nginx: spec.ports.0.port" in bad[2]
    assert none[0] == 1
    assert "set openwhisk_chart" in json.loads(none[1])["hosts"]["openwhisk"]["reason"]


def test_it_is_deployed_serves_and_is_removed(
    edgectl: Edgectl, plane: Plane, agent_factory: AgentFactory, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    given = variables(
        tmp_path,
        openwhisk_kubeconfig=str(plane.kubeconfig),
        openwhisk_scheme="http",
        openwhisk_port=port,
        openwhisk_timeout_s=200,
    )
    deploying = edgectl(*on_cluster("deploy"), *given)
    keys = plane.until(lambda: keys_of(plane, "openwhisk"), within_s=120)
    serve(agent_factory, tmp_path, port, keys)
    settle_until_ended(plane, deploying, "openwhisk")
    code, _, talk = ended(deploying)
    assert code == 0, talk
    assert f"invoking an action on http://127.0.0.1:{port}" in talk

    target = ("--target", "openwhisk", "--json")
    listed = ended(edgectl("action", "list", *target))
    status = ended(edgectl("fleet", "status", *target))
    again = ended(edgectl(*on_cluster("deploy"), *given, "--json"))

    entry = tomllib.loads((tmp_path / ".config/edgewhisk/targets.toml").read_text())
    assert entry["openwhisk"]["apihost"] == f"http://127.0.0.1:{port}"
    assert entry["openwhisk"]["auth"] == keys["guest"]
    assert "23bc46b1" not in keys["guest"]
    assert listed[0] == 0, listed[2]
    (shown,) = json.loads(status[1])
    pods = shown["pods"]
    assert {pod["role"] for pod in pods} == {
        "controller",
        "invoker",
        "install-packages",
    }
    assert all(pod["ready"] for pod in pods)
    assert again[0] == 0, again[2]
    assert json.loads(again[1])["hosts"]["openwhisk"]["changed"] == 0
    assert keys_of(plane, "openwhisk") == keys
    assert sizes_of(plane) == {
        "LIMITS_ACTIONS_INVOKES_PERMINUTE": "9000",
        "LIMITS_ACTIONS_INVOKES_CONCURRENT": "700",
        "CONFIG_whisk_containerPool_userMemory": "512m",
    }
    assert sum(pod["role"] == "invoker" for pod in pods) == 3

    removing = edgectl(*on_cluster("remove"), "--yes", "--json")
    while removing.poll() is None:
        plane.let_go()
    code, _, talk = ended(removing)
    names = [one.metadata.name for one in plane.core.list_namespace().items]
    assert code == 0, talk
    assert "openwhisk" not in names
    assert "openwhisk" not in (tmp_path / ".config/edgewhisk/targets.toml").read_text()


def test_on_openshift_the_route_is_the_way_in(
    edgectl: Edgectl, plane: Plane, agent_factory: AgentFactory, tmp_path: Path
) -> None:
    from kubernetes import client

    make_openshift(plane)
    (port,) = free_ports(1)
    given = variables(
        tmp_path,
        openwhisk_kubeconfig=str(plane.kubeconfig),
        openwhisk_namespace="serverless",
        openwhisk_target="ocp",
        openwhisk_host="127.0.0.1",
        openwhisk_scheme="http",
        openwhisk_port=port,
        openwhisk_values={"nginx": {"httpsNodePort": 31002}},
        openwhisk_timeout_s=200,
    )
    plane.core.create_namespace({"metadata": {"name": "serverless"}})
    deploying = edgectl(*on_cluster("deploy"), *given)
    keys = plane.until(lambda: keys_of(plane, "serverless"), within_s=120)
    serve(agent_factory, tmp_path, port, keys)
    settle_until_ended(plane, deploying, "serverless")
    code, _, talk = ended(deploying)
    objects = client.CustomObjectsApi(plane.core.api_client)
    of_routes = ("route.openshift.io", "v1", "serverless", "routes")
    routes = objects.list_namespaced_custom_object(*of_routes)["items"]

    removing = edgectl(*on_cluster("remove"), "--yes", "--var", "openwhisk_target=ocp")
    while removing.poll() is None:
        plane.let_go()
    names = [one.metadata.name for one in plane.core.list_namespace().items]
    left = plane.core.list_namespaced_secret("serverless").items
    left += plane.core.list_namespaced_persistent_volume_claim("serverless").items

    assert code == 0, talk
    assert [one["spec"]["host"] for one in routes] == ["127.0.0.1"]
    assert "not checked" not in talk
    assert removing.returncode == 0, ended(removing)
    assert "serverless" in names  # it was there before
    assert left == []


def test_without_a_host_the_route_is_below_the_clusters_domain(
    edgectl: Edgectl, plane: Plane, tmp_path: Path
) -> None:
    from kubernetes import client

    make_openshift(plane)
    given = variables(
        tmp_path,
        openwhisk_kubeconfig=str(plane.kubeconfig),
        openwhisk_namespace="routed",
        openwhisk_values={"nginx": {"httpsNodePort": 31004}},
        openwhisk_timeout_s=1,
    )

    deployed = ended(edgectl(*on_cluster("deploy"), *given))
    again = ended(
        edgectl(*on_cluster("deploy"), *given, "--var", "openwhisk_invokers=4")
    )

    objects = client.CustomObjectsApi(plane.core.api_client)
    of_routes = ("route.openshift.io", "v1", "routed", "routes")
    (route,) = objects.list_namespaced_custom_object(*of_routes)["items"]
    assert "not healthy within 1 s" in deployed[2]
    assert route["spec"]["host"] == "routed.apps.test"
    assert "changed: Install the chart" in again[2]
    invokers = plane.until(
        lambda: sum("invoker" in pod.metadata.name for pod in plane.pods("routed")) == 4
    )
    assert invokers


def test_what_does_not_come_to_serve_is_named(
    edgectl: Edgectl, plane: Plane, tmp_path: Path
) -> None:
    given = variables(
        tmp_path,
        openwhisk_kubeconfig=str(plane.kubeconfig),
        openwhisk_namespace="late",
        openwhisk_values={"nginx": {"httpsNodePort": 31003}},
        openwhisk_host="127.0.0.1",
        openwhisk_ingress_type="NodePort",
        openwhisk_timeout_s=3,
    )
    unreachable = variables(tmp_path / "..", openwhisk_kubeconfig="/none")

    late = ended(edgectl(*on_cluster("deploy"), *given))
    nowhere = ended(edgectl(*on_cluster("deploy"), *unreachable, "--json"))

    assert late[0] == 1
    assert "not healthy within 3 s: owdev-controller-0 (Pending)" in late[2]
    assert nowhere[0] == 1
    assert json.loads(nowhere[1])["hosts"]["openwhisk"]["reason"]


def keys_of(plane: Plane, namespace: str) -> dict[str, str] | None:
    """What the cluster's secret holds."""
    secrets = plane.core.list_namespaced_secret(namespace).items
    found = [one for one in secrets if one.metadata.name == "owdev-whisk.auth"]
    if not found:
        return None
    return {k: base64.b64decode(v).decode() for k, v in found[0].data.items()}


def serve(
    agent_factory: AgentFactory, folder: Path, port: int, keys: dict[str, str]
) -> None:
    """An OpenWhisk with the cluster's keys where callers are told to go."""
    file = folder / "keys.json"
    kept = {"guest": [keys["guest"]], "whisk.system": [keys["system"]]}
    file.write_text(json.dumps(kept))
    agent_factory(settings=f'keys_file = "{file}"\n', options=("--port", str(port)))


def settle_until_ended(
    plane: Plane, process: subprocess.Popen[str], namespace: str
) -> None:
    def settled() -> bool:
        plane.settle(namespace)
        return process.poll() is not None

    plane.until(settled, within_s=300)


def sizes_of(plane: Plane) -> dict[str, str]:
    wanted = ("LIMITS_ACTIONS", "CONFIG_whisk_containerPool")
    return {
        one.name: one.value
        for pod in plane.pods("openwhisk")
        for container in pod.spec.containers
        for one in container.env or ()
        if one.name.startswith(wanted)
    }


def make_openshift(plane: Plane) -> None:
    """The two kinds of OpenShift that a deployment asks for, and the domain."""
    from kubernetes import client

    definitions = client.ApiextensionsV1Api(plane.core.api_client)
    if definitions.list_custom_resource_definition().items:
        return
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True}
    for group, kind, plural, scope in ROUTES:
        names = {"plural": plural, "singular": kind.lower(), "kind": kind}
        spec = {
            "group": group,
            "scope": scope,
            "names": names,
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        }
        definitions.create_custom_resource_definition(
            {"metadata": {"name": f"{plural}.{group}"}, "spec": spec}
        )
    domain = {
        "apiVersion": "config.openshift.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "cluster"},
        "spec": {"domain": "apps.test"},
    }
    objects = client.CustomObjectsApi(plane.core.api_client)
    place = ("config.openshift.io", "v1", "ingresses")

    def made() -> bool:
        with suppress(client.ApiException):  # its kind takes a moment
            objects.create_cluster_custom_object(*place, domain)
            return True
        return False

    plane.until(made)
