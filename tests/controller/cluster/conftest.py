"""A real control plane of Kubernetes, without machines.

Pods are made and bound to a node; the tests say how they are, as its kubelet would.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
NODE = "node1"
TOKEN = "of-the-tests"


@dataclass(frozen=True, slots=True)
class Plane:
    """A running control plane; `kubeconfig` opens it."""

    folder: Path
    kubeconfig: Path
    core: Any

    def pods(self, namespace: str) -> list[Any]:
        return list(self.core.list_namespaced_pod(namespace).items)

    def settle(self, namespace: str) -> None:
        """Let every pod that is bound be what it is to be: ready, or done."""
        for pod in self.pods(namespace):
            if pod.spec.node_name and pod.status.phase == "Pending":
                done = pod.spec.restart_policy == "Never"
                status = _status(pod, done=done)
                self.core.patch_namespaced_pod_status(
                    pod.metadata.name, namespace, {"status": status}
                )

    def until(self, met: Callable[[], Any], *, within_s: float = 30) -> Any:
        give_up = time.monotonic() + within_s
        while not (found := met()):
            assert time.monotonic() < give_up, "the cluster did not come so far"
            time.sleep(0.2)
        return found

    def let_go(self) -> None:
        """Pods that are to end do so at once: no kubelet is there to end them."""
        from kubernetes.client import ApiException

        for pod in self.core.list_pod_for_all_namespaces().items:
            if pod.metadata.deletion_timestamp:
                with suppress(ApiException):  # it is gone by itself
                    self.core.delete_namespaced_pod(
                        *(pod.metadata.name, pod.metadata.namespace),
                        grace_period_seconds=0,
                    )


def _status(pod: Any, *, done: bool) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    state: dict[str, Any] = {"running": {"startedAt": now}}
    if done:
        state = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    containers = [
        {
            "name": one.name,
            "image": one.image,
            "imageID": "",
            "ready": not done,
            "restartCount": 0,
            "state": state,
        }
        for one in pod.spec.containers
    ]
    ready = {"type": "Ready", "status": "False" if done else "True"}
    return {
        "phase": "Succeeded" if done else "Running",
        "conditions": [ready],
        "containerStatuses": containers,
    }


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    pytest.importorskip("kubernetes")
    from kubernetes import client, config

    folder = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        kubeconfig = _start(folder, stack)
        core = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
        node = {"metadata": {"name": NODE}}
        core.create_node(node)
        core.patch_node_status(NODE, {"status": _node_status()})
        core.patch_node(NODE, {"spec": {"taints": None}})
        yield Plane(folder, kubeconfig, core)


def _node_status() -> dict[str, Any]:
    room = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    return {
        "allocatable": room,
        "capacity": room,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }


def _start(folder: Path, stack: ExitStack) -> Path:
    """Start its four programs; the way in, once it is ready."""
    store, peer, api, *others = free_ports(5)
    key = folder / "accounts.key"
    key.write_bytes(_new_key())
    (folder / "tokens").write_text(f"{TOKEN},admin,admin,system:masters\n")
    at_store = f"http://127.0.0.1:{store}"
    at_peer = f"http://127.0.0.1:{peer}"
    _run(
        stack,
        folder,
        "etcd",
        *("--data-dir", folder / "store", "--listen-client-urls", at_store),
        *("--advertise-client-urls", at_store, "--listen-peer-urls", at_peer),
        *("--initial-advertise-peer-urls", at_peer),
        *("--initial-cluster", f"default={at_peer}"),
    )
    _run(
        stack,
        folder,
        "kube-apiserver",
        *("--etcd-servers", at_store, "--secure-port", api),
        *("--bind-address", "127.0.0.1", "--cert-dir", folder / "certificates"),
        *("--service-account-issuer", "https://kubernetes.default.svc"),
        *("--service-account-key-file", key),
        *("--service-account-signing-key-file", key),
        *("--token-auth-file", folder / "tokens"),
        *("--authorization-mode", "AlwaysAllow"),
        *("--service-cluster-ip-range", "10.0.0.0/24"),
        *("--disable-admission-plugins", "ServiceAccount"),
    )
    kubeconfig = folder / "kubeconfig"
    authority = folder / "certificates" / "apiserver.crt"
    kubeconfig.write_text(json.dumps(_kubeconfig(api, authority)))
    _wait(kubeconfig)
    programs = ("kube-controller-manager", "kube-scheduler")
    for program, port in zip(programs, others, strict=True):
        _run(
            stack,
            folder,
            program,
            *("--kubeconfig", kubeconfig, "--leader-elect=false"),
            *("--bind-address", "127.0.0.1", "--secure-port", port),
            *("--cert-dir", folder / program),
            # Nobody tells that the node lives.
            *(("--controllers=*,-nodelifecycle",) if "manager" in program else ()),
        )
    return kubeconfig


def _run(stack: ExitStack, folder: Path, program: str, *arguments: object) -> None:
    log = stack.enter_context((folder / f"{program}.log").open("wb"))
    process = subprocess.Popen(
        [program, *map(str, arguments)],
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
    )
    stack.callback(_stop, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(kubeconfig: Path) -> None:
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    give_up = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            api = client.CoreV1Api(config.new_client_from_config(str(kubeconfig)))
            api.list_namespace(_request_timeout=2)
        except (client.ApiException, config.ConfigException, HTTPError, OSError):
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)
        else:
            return


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _new_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _kubeconfig(port: int, authority: Path) -> dict[str, Any]:
    server = f"https://127.0.0.1:{port}"
    cluster = {"server": server, "certificate-authority": str(authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [
            {"name": "tests", "context": {"cluster": "tests", "user": "admin"}}
        ],
        "current-context": "tests",
    }


def environment(home: Path) -> dict[str, str]:
    """As a user's own, without what would name another cluster."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("K8S_", "KUBE"))}
    return {**kept, "HOME": str(home), "XDG_STATE_HOME": ""}
