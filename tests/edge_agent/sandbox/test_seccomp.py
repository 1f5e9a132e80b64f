"""The filter, run as the kernel would run it, and beside the kernel's own numbers."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from edge_agent.sandbox import seccomp
from edge_agent.sandbox.seccomp import ALLOW, ENOSYS, EPERM, KILL, MACHINES, NO_FAMILY

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
USED = {
    "x86_64": {"read": 0, "execve": 59, "futex": 202, "openat": 257, "wait4": 61},
    "aarch64": {"read": 63, "execve": 221, "futex": 98, "openat": 56, "wait4": 260},
}
machines = pytest.mark.parametrize("machine", list(MACHINES))


def verdict(machine: str, number: int, *arguments: int, audit: int = 0) -> int:
    """What the program says to a system call."""
    known = MACHINES[machine]
    data = struct.pack(
        "=iIQ6Q",
        number,
        audit or known.audit,
        0,
        *arguments,
        *[0] * (6 - len(arguments)),
    )
    steps = _steps(machine)
    at = accumulator = 0
    while True:
        code, true, false, constant = steps[at]
        at += 1
        match code:
            case seccomp.LOAD:
                (accumulator,) = struct.unpack_from("=I", data, constant)
            case seccomp.RETURN:
                return constant
            case _:
                at += true if _holds(code, accumulator, constant) else false


def _holds(code: int, accumulator: int, constant: int) -> bool:
    return {
        seccomp.JUMP_EQUAL: accumulator == constant,
        seccomp.JUMP_GREATER: accumulator > constant,
        seccomp.JUMP_SET: bool(accumulator & constant),
    }[code]


def _steps(machine: str) -> list[tuple[int, int, int, int]]:
    program = seccomp.assemble(machine)
    assert program is not None
    return list(struct.iter_unpack("=HBBI", program))


def _watched(machine: str, name: str) -> int:
    return seccomp.WATCHED[name][MACHINES[machine].column]


@machines
def test_every_call_on_the_list_is_refused(machine: str) -> None:
    for pair in seccomp.REFUSED.values():
        number = pair[MACHINES[machine].column]
        if number is not None:
            assert verdict(machine, number) == EPERM


@machines
def test_every_other_call_is_allowed_up_to_the_newest(machine: str) -> None:
    column = MACHINES[machine].column
    refused = {pair[column] for pair in seccomp.REFUSED.values()}
    watched = {pair[column] for pair in seccomp.WATCHED.values()}
    for number in set(range(seccomp.NEWEST + 1)) - refused - watched:
        assert verdict(machine, number) == ALLOW
    assert not refused & set(USED[machine].values())
    for number in (seccomp.NEWEST + 1, 0x4000_0000, 0x7FFF_FFFF):
        assert verdict(machine, number) == ENOSYS


@machines
def test_clone_makes_processes_and_threads_but_no_namespaces(machine: str) -> None:
    clone = _watched(machine, "clone")
    assert verdict(machine, clone, 17) == ALLOW
    assert verdict(machine, clone, 0x3D0F00) == ALLOW  # a thread
    assert verdict(machine, clone, 0x4111) == ALLOW  # vfork
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert verdict(machine, clone, 1 << bit | 17) == EPERM
    assert verdict(machine, _watched(machine, "clone3")) == ENOSYS


@machines
def test_arguments_decide_where_they_are_looked_at(machine: str) -> None:
    socket, ioctl = _watched(machine, "socket"), _watched(machine, "ioctl")
    personality = _watched(machine, "personality")
    assert [verdict(machine, socket, family) for family in (1, 2, 10, 16)] == [
        ALLOW
    ] * 4
    assert [verdict(machine, socket, family) for family in (17, 38, 40)] == [
        NO_FAMILY
    ] * 3
    assert verdict(machine, ioctl, 0, 0x5401) == ALLOW
    assert verdict(machine, ioctl, 0x5412, 0x5413) == ALLOW
    assert verdict(machine, ioctl, 0, 0x5412) == EPERM
    assert verdict(machine, ioctl, 0, 1 << 32 | 0x5412) == EPERM
    assert verdict(machine, personality, 0xFFFF_FFFF) == ALLOW
    assert verdict(machine, personality, 0x0040000) == EPERM


def test_another_architecture_ends_the_process() -> None:
    assert verdict("x86_64", 0, audit=0x4000_0003) == KILL
    assert verdict("aarch64", 0, audit=0x4000_0028) == KILL


@machines
def test_every_jump_lands_inside_and_the_end_is_a_verdict(machine: str) -> None:
    steps = _steps(machine)
    assert len(steps) < 4096
    assert steps[-1][0] == seccomp.RETURN
    for at, (_, true, false, _) in enumerate(steps):
        assert at + 1 + max(true, false) <= len(steps) - (
            steps[at][0] != seccomp.RETURN
        )


def test_a_machine_without_a_list_has_no_filter() -> None:
    assert seccomp.assemble("armv7l") is None


@machines
def test_the_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed (linux-libc-dev)")
    told = dict(
        re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", HEADERS[machine].read_text())
    )
    for name, pair in {**seccomp.REFUSED, **seccomp.WATCHED}.items():
        if name in told:
            assert pair[MACHINES[machine].column] == int(told[name])
