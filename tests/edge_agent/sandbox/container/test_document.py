"""What an engine is asked for (D12)."""

from __future__ import annotations

import pytest

from edge_agent import settings
from edge_agent.sandbox.base import SandboxSpec
from edge_agent.sandbox.container.document import Terms, container_document, cpu_shares


@pytest.mark.parametrize(
    ("memory_mb", "pool_mb", "shares"),
    [(256, 1024, 256), (512, 1024, 512), (128, 1_000_000, 2), (1024, 512, 1024)],
)
def test_d12_cpu_shares_are_those_of_memory(
    memory_mb: int, pool_mb: int, shares: int
) -> None:
    assert cpu_shares(memory_mb, pool_mb=pool_mb) == shares


def test_d12_a_container_is_bounded() -> None:
    terms = Terms(settings.Containers(), pool_mb=1024, labels={"a": "b"})
    document = container_document(
        "sha256:1", SandboxSpec("java:8", 256), terms, network="bridge"
    )
    host = document["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 256 << 20
    assert host["CpuShares"] == 256
    assert host["PidsLimit"] == 1024
    assert host["CapDrop"] == ["NET_RAW", "NET_ADMIN"]
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 1024, "Hard": 1024}]
    assert "ReadonlyRootfs" not in host
    assert document["Labels"] == {"a": "b"}


def test_a_read_only_container_may_write_where_runtimes_unpack() -> None:
    wanted = settings.Containers(read_only=True, tmp_mb=5)
    terms = Terms(wanted, pool_mb=1024, labels={})
    host = container_document("i", SandboxSpec("x:1", 128), terms, network="none")[
        "HostConfig"
    ]
    assert host["ReadonlyRootfs"] is True
    assert set(host["Tmpfs"]) == {"/tmp", "/action"}
    assert "size=5m" in host["Tmpfs"]["/tmp"]
