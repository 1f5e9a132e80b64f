"""The kernel's small files, and how one does without some of them."""

from __future__ import annotations

import os
import subprocess

import pytest

from edge_agent.sandbox import kernel


def test_a_file_that_is_not_there_is_empty() -> None:
    assert kernel.read_text("/proc/0/nothing") == ""


def test_the_first_child_is_found_with_and_without_the_kernels_list() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 30 & wait"]) as shell:
        try:
            while (sleeping := kernel.first_child(shell.pid)) is None:
                pass
            assert kernel.parent_of(sleeping) == shell.pid
            assert kernel._search(shell.pid) == [str(sleeping)]
            assert kernel.first_child(sleeping) is None
        finally:
            for pid in filter(None, (kernel.first_child(shell.pid), shell.pid)):
                os.kill(pid, 9)


@pytest.mark.parametrize("pid", [0, 2**22 + 1])
def test_a_process_that_is_gone_has_no_parent(pid: int) -> None:
    assert kernel.parent_of(pid) == 0
