"""The seccomp filter of level `full`: a program for the kernel, assembled here.

A system call is refused (EPERM) that no action needs and that reaches for the kernel
itself, for other processes or out of the namespaces: a bug in one of those is how a
sandbox is left. What is not on the list is allowed, with three exceptions: calls newer
than the list are said not to exist (ENOSYS, so that a C library falls back), and so is
clone3, whose flags lie in memory where no filter can look; clone may make no
namespaces; sockets are of the families that programs on a network use.

`assemble` is pure: what is refused is data, and the tests run the program.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass

ALLOW, KILL = 0x7FFF_0000, 0x8000_0000
REFUSE = 0x0005_0000  # SECCOMP_RET_ERRNO, to be joined with the number
EPERM, ENOSYS = REFUSE | errno.EPERM, REFUSE | errno.ENOSYS
NO_FAMILY = REFUSE | errno.EAFNOSUPPORT

#: Opcodes of classic BPF, and where `struct seccomp_data` has what they load.
LOAD, JUMP_EQUAL, JUMP_GREATER, JUMP_SET, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST, SECOND = 0, 4, 16, 24

#: The last call that was looked at (file_setattr, Linux 6.17).
NEWEST = 469
#: Flags of clone: user, mount, pid, network, ipc, uts, cgroup.
NEW_NAMESPACES = 0x7E02_0000
#: Unix, IPv4, IPv6, netlink (names of interfaces); 0 is told invalid by the kernel.
FAMILIES = (0, 1, 2, 10, 16)
#: Put words into a terminal's input, or paste into a console.
TERMINAL_REQUESTS = (0x5412, 0x541C)
#: The usual one, and the question which it is.
PERSONALITIES = (0, 0xFFFF_FFFF)


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture: its audit number, and which number of a pair is its own."""

    audit: int
    column: int


MACHINES = {
    # Numbers from 2**30 on are those of the x32 variant: newer than NEWEST, to us.
    "x86_64": Machine(0xC000_003E, 0),
    "aarch64": Machine(0xC000_00B7, 1),
}

#: name -> (x86_64, aarch64); None where a machine has no such call.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Mounts and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    # Namespaces
    "unshare": (272, 97),
    "setns": (308, 268),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    # Other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # The kernel's code and its keys
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, None),
    "get_kernel_syms": (177, None),
    "query_module": (178, None),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "lookup_dcookie": (212, 18),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "syslog": (103, 116),
    # The machine
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "vhangup": (153, 58),
    "nfsservctl": (180, 42),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
}
#: The calls whose arguments are looked at.
WATCHED: dict[str, tuple[int, int]] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "socket": (41, 198),
    "ioctl": (16, 29),
    "personality": (135, 92),
}

#: code, constant, jump when true, jump when false: one `struct sock_filter`.
Step = tuple[int, int, int, int]


def assemble(machine: str) -> bytes | None:
    """The program for `machine` (as uname says it), None where there is none."""
    known = MACHINES.get(machine)
    if known is None:
        return None
    return b"".join(
        struct.pack("=HBBI", code, true, false, constant)
        for code, constant, true, false in _program(known)
    )


def _program(machine: Machine) -> list[Step]:
    refused = [pair[machine.column] for pair in REFUSED.values()]
    clone, clone3, socket, ioctl, personality = (
        pair[machine.column] for pair in WATCHED.values()
    )
    return [
        _load(ARCHITECTURE),
        *_unless_any([machine.audit], KILL),
        _load(NUMBER),
        *_when(JUMP_GREATER, NEWEST, ENOSYS),
        *_when(JUMP_EQUAL, clone3, ENOSYS),
        *_when_any([number for number in refused if number is not None], EPERM),
        *_for_call(clone, FIRST, _when(JUMP_SET, NEW_NAMESPACES, EPERM)),
        *_for_call(socket, FIRST, _unless_any(FAMILIES, NO_FAMILY)),
        *_for_call(ioctl, SECOND, _when_any(TERMINAL_REQUESTS, EPERM)),
        *_for_call(personality, FIRST, _unless_any(PERSONALITIES, EPERM)),
        _return(ALLOW),
    ]


def _load(offset: int) -> Step:
    return (LOAD, offset, 0, 0)


def _return(verdict: int) -> Step:
    return (RETURN, verdict, 0, 0)


def _when(test: int, constant: int, verdict: int) -> list[Step]:
    return [(test, constant, 0, 1), _return(verdict)]


def _when_any(constants: Sequence[int], verdict: int) -> list[Step]:
    """A row of comparisons that jump to the verdict; the last one else past it."""
    *firsts, last = constants
    row = [(JUMP_EQUAL, c, len(firsts) - n, 0) for n, c in enumerate(firsts)]
    return [*row, *_when(JUMP_EQUAL, last, verdict)]


def _unless_any(constants: Sequence[int], verdict: int) -> list[Step]:
    """A row of comparisons that jump past the verdict at its end."""
    row = [(JUMP_EQUAL, c, len(constants) - n, 0) for n, c in enumerate(constants)]
    return [*row, _return(verdict)]


def _for_call(number: int, argument: int, steps: list[Step]) -> list[Step]:
    """`steps` on the lower half of an argument: all that the kernel reads of these."""
    body = [_load(argument), *steps, _return(ALLOW)]
    return [(JUMP_EQUAL, number, 0, len(body)), *body]
