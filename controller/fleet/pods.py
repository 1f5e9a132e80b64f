"""The pods of a target that is a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from controller.fleet.entries import Cluster
from edge_agent.model.errors import EdgeWhiskError

TIMEOUT_S = 5.0
DONE = "Succeeded"


class PodsError(EdgeWhiskError):
    """The cluster does not tell."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """`ready`: all of its containers are; a job's pod that is done counts too."""

    name: str
    role: str
    phase: str
    ready: bool
    restarts: int
    reason: str = ""
    node: str = ""
    age_s: float | None = None


def pods_of(cluster: Cluster) -> list[Pod]:
    """What the cluster says of the release's pods; blocks for a round trip or two.

    Raises:
        PodsError: it cannot be reached, or refuses.
    """
    found = client_of(cluster).list_namespaced_pod(
        cluster.namespace,
        label_selector=f"release={cluster.release}",
        _request_timeout=TIMEOUT_S,
    )
    return [pod_of(one.to_dict(), cluster.release) for one in found.items]


def client_of(cluster: Cluster) -> Any:
    """The API of the cluster's core objects, whose failures are PodsErrors."""
    from kubernetes import client, config  # noqa: PLC0415 half a second, and optional
    from kubernetes.config import ConfigException  # noqa: PLC0415

    try:
        api = config.new_client_from_config(
            config_file=cluster.kubeconfig or None, context=cluster.context or None
        )
    except (ConfigException, OSError) as error:
        raise PodsError(f"no way to the cluster: {_line(error)}") from error
    api.configuration.retries = False
    return _Told(client.CoreV1Api(api))


class _Told:
    """Calls of `api` that end in one line."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._api, name)

        def told(*given: Any, **named: Any) -> Any:
            from kubernetes.client import ApiException  # noqa: PLC0415
            from urllib3.exceptions import HTTPError  # noqa: PLC0415

            try:
                return call(*given, **named)
            except ApiException as error:
                raise PodsError(
                    f"the cluster says {error.status} {error.reason}"
                ) from error
            except (HTTPError, OSError) as error:
                raise PodsError(f"no way to the cluster: {_line(error)}") from error

        return told


def pod_of(document: dict[str, Any], release: str) -> Pod:
    """From the client's own dictionary (snake case)."""
    metadata, status = document["metadata"], document["status"] or {}
    containers = status.get("container_statuses") or []
    made = metadata.get("creation_timestamp")
    age_s = None if made is None else (datetime.now(UTC) - made).total_seconds()
    phase = status.get("phase") or "Pending"
    return Pod(
        name=metadata["name"],
        role=str((metadata.get("labels") or {}).get("name", "")).removeprefix(
            f"{release}-"
        ),
        phase=phase,
        ready=phase == DONE
        or (bool(containers) and all(c["ready"] for c in containers)),
        restarts=sum(c["restart_count"] or 0 for c in containers),
        reason=_reason(containers),
        node=(document.get("spec") or {}).get("node_name") or "",
        age_s=age_s,
    )


def waiting(pods: Sequence[Pod], *, invokers: int) -> str:
    """What is not ready yet, for people; "" when the invokers and all others are."""
    late = [pod for pod in pods if not pod.ready and pod.phase != "Failed"]
    missing = invokers - sum(pod.role == "invoker" and pod.ready for pod in pods)
    told = [f"{pod.name} ({pod.reason or pod.phase})" for pod in late]
    if missing > 0 and not any(pod.role == "invoker" for pod in late):
        told.append(f"{missing} invoker(s)")
    return ", ".join(told)


def _reason(containers: Sequence[dict[str, Any]]) -> str:
    """Why a container waits, for example ImagePullBackOff."""
    for one in containers:
        state = (one.get("state") or {}).get("waiting")
        if state and state.get("reason"):
            return str(state["reason"])
    return ""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
