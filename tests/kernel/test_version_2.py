"""Control groups of version 2 on a real kernel, in a virtual machine."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(700)]

CHECKS = (
    "the_delegated_place_is_found_and_the_agent_is_in_a_leaf",
    "a_sandbox_has_its_bounds_and_its_processes",
    "memory_is_bounded_and_the_kernel_says_so",
    "processes_are_bounded_and_the_kernel_says_so",
    "processors_are_shared_by_weight",
    "nothing_is_left_of_a_factory_that_closed",
    "one_write_kills_whoever_has_left_its_session",
    "who_shares_its_group_has_none",
    "all",
)


@pytest.mark.parametrize("name", CHECKS)
def test_under_version_2(told: dict[str, str], name: str) -> None:
    assert told.get(name, "was not reached").replace(" | ", "\n") == "ok"
