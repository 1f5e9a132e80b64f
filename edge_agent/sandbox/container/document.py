"""What an engine is told to make: upstream's options (D12), and tighter ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_agent import settings
from edge_agent.model.limits import MEBIBYTE
from edge_agent.sandbox.base import SandboxSpec

CPU_SHARES, LEAST_CPU_SHARES = 1024, 2
DROPPED = ("NET_RAW", "NET_ADMIN")


@dataclass(frozen=True, slots=True)
class Terms:
    """The same for every container of a node; `pool_mb` is the memory of the pool."""

    wanted: settings.Containers
    pool_mb: int
    labels: Mapping[str, str]


def container_document(
    image: str, spec: SandboxSpec, terms: Terms, *, network: str
) -> dict[str, Any]:
    """The body of Docker's create; `image` is an id."""
    return {
        "Image": image,
        "Labels": dict(terms.labels),
        "StopTimeout": 0,
        "HostConfig": {
            "NetworkMode": network,
            "CapDrop": list(DROPPED),
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "none"},  # they are heard as they come
            **_bounds(spec, terms),
            **_file_system(terms.wanted),
        },
    }


def cpu_shares(memory_mb: int, *, pool_mb: int) -> int:
    """A container's share is that of its memory in the pool's (D12)."""
    return max(CPU_SHARES * memory_mb // max(pool_mb, memory_mb), LEAST_CPU_SHARES)


def _bounds(spec: SandboxSpec, terms: Terms) -> dict[str, Any]:
    memory = spec.memory_mb * MEBIBYTE
    files = terms.wanted.open_files
    return {
        "Memory": memory,
        "MemorySwap": memory,  # of both together: so there is no swap
        "CpuShares": cpu_shares(spec.memory_mb, pool_mb=terms.pool_mb),
        "PidsLimit": terms.wanted.processes,
        "Ulimits": [{"Name": "nofile", "Soft": files, "Hard": files}],
    }


def _file_system(wanted: settings.Containers) -> dict[str, Any]:
    """Read-only with room in /tmp and /action, where runtimes unpack; or as it is."""
    if not wanted.read_only:
        return {}
    room = f"rw,exec,nosuid,nodev,size={wanted.tmp_mb}m,mode=1777"
    return {"ReadonlyRootfs": True, "Tmpfs": {"/tmp": room, "/action": room}}  # noqa: S108
