"""What the kernel gives is a value, and what it does not give has a remedy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_agent.sandbox.cgroup import Cgroups
from edge_agent.sandbox.identity import find_setpriv
from edge_agent.sandbox.probe import Finding, Probe, _absent_memory, probe_kernel


@pytest.mark.sandbox
def test_a_working_bubblewrap_gives_namespaces(tmp_path: Path) -> None:
    probe = probe_kernel(cgroup_root=tmp_path)
    assert probe.level == "namespaces"
    assert Path(probe.bwrap).is_absolute()
    assert probe.gives["namespaces"].startswith("mount, pid, ipc, uts, net")
    assert probe.gives["memory control group"] == "none (absent)"


def test_full_is_namespaces_a_memory_group_and_a_filter(tmp_path: Path) -> None:
    groups = Cgroups(2, tmp_path, tmp_path, "")
    assert Probe(bwrap="/usr/bin/bwrap", seccomp=True, cgroups=groups).level == "full"
    assert Probe(bwrap="/usr/bin/bwrap", seccomp=True).level == "namespaces"
    assert Probe(bwrap="/usr/bin/bwrap", cgroups=groups).level == "namespaces"
    assert Probe(seccomp=True, cgroups=groups).level == "rlimits"


def test_a_kernel_that_was_asked_for_groups_in_vain_is_told_apart() -> None:
    asked = _absent_memory("quiet cgroup_enable=memory cgroup_disable=memory")
    assert "CONFIG_MEMCG" in asked.mend
    assert "cgroup_enable=memory" in _absent_memory("quiet").mend


def test_without_namespaces_root_gives_actions_users_of_their_own(
    tmp_path: Path,
) -> None:
    probe = probe_kernel(bwrap="", cgroup_root=tmp_path)
    assert probe.own_users == (os.geteuid() == 0 and bool(find_setpriv()))
    told = "one that owns nothing, each its own" if probe.own_users else "the agent's"
    assert probe.gives["user of actions"] == told


def test_a_missing_bubblewrap_is_found_and_has_a_remedy(tmp_path: Path) -> None:
    probe = probe_kernel(bwrap="", cgroup_root=tmp_path)
    assert probe.level == "rlimits"
    assert "apt-get install bubblewrap" in [f.mend for f in probe.findings]


def test_a_bubblewrap_that_is_refused_says_what_it_said(tmp_path: Path) -> None:
    refused = tmp_path / "bwrap"
    refused.write_text(
        "#!/bin/sh\necho 'No permissions to create namespace' >&2\nexit 1\n"
    )
    refused.chmod(0o755)
    probe = probe_kernel(bwrap=str(refused), cgroup_root=tmp_path)
    assert probe.level == "rlimits"
    assert not probe.user_namespace
    assert any("No permissions to create namespace" in f.text for f in probe.findings)


def test_a_missing_memory_group_names_the_firmware_line(tmp_path: Path) -> None:
    probe = probe_kernel(bwrap="", cgroup_root=tmp_path)
    assert not probe.cgroups.usable
    assert any("cgroup_enable=memory" in finding.mend for finding in probe.findings)


def test_a_finding_reads_as_one_line() -> None:
    assert (
        str(Finding("no x", "apt-get install x"))
        == "no x; to mend it: apt-get install x"
    )
