"""Puts the process that calls it into a sandbox of its own: the fork server's children.

What bubblewrap does for a single sandbox, by the same system calls; the C library is
called by ctypes, and nothing else is imported. A process goes through three steps:

1. `clone` makes it, the first process of a pid namespace, with namespaces of its own.
2. `settle` mounts its /proc and its folders and makes it the user that it shall be.
3. `give_up` takes away every capability, and the system calls of the filter. After it
   the action's code may come.

An agent that is root has no user namespace around the fork server, because the kernel
lets only those mount a /proc who see all of one. Its children take a user id that
nobody has, then enter a user namespace: they own nothing outside and are 1000 inside.
"""

# ruff: noqa: ANN001, ANN201, PTH123, S108
# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="assignment,call-overload"

import ctypes
import posix
import sys

INSIDE = 1000
TMP, ACTION = "/tmp", "/action"
KIBIBYTE = 1024

CLONE_NUMBERS = {"x86_64": 56, "aarch64": 220}
SIGCHLD = 17
NEW_MOUNTS, NEW_CGROUP, NEW_UTS = 0x20000, 0x2000000, 0x4000000
NEW_IPC, NEW_USER, NEW_PID, NEW_NET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
NO_SUID, NO_DEVICES, NO_PROGRAMS, RECURSIVE, PRIVATE = 2, 4, 8, 0x4000, 0x40000
SET_DUMPABLE, SET_KEEP_CAPABILITIES, SET_SECCOMP = 4, 8, 22
DROP_BOUND, SET_NO_NEW_PRIVILEGES, AMBIENT, CLEAR_ALL = 24, 38, 47, 4
FILTER = 2
CAPABILITY_VERSION, CAPABILITIES = 0x20080522, 64
INTERNET, DATAGRAM, SET_FLAGS, INTERFACE_UP = 2, 2, 0x8914, 1
NAME_BYTES, INTERFACE_BYTES = 16, 40

#: The lock of the interpreter is not let go: the child of a clone could not take it.
libc = ctypes.PyDLL(None, use_errno=True)


class Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def check(what, result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {posix.strerror(number)}")
    return result


def clone(*, user, network):
    """Fork into new namespaces: 0 in the child. The fork hooks of Python do not run.

    Args:
        user: with a user namespace at once: the server is nobody special.
        network: share the server's.
    """
    machine = posix.uname().machine
    if machine not in CLONE_NUMBERS or sys.maxsize < 1 << 32:
        raise OSError(f"no fork server on {machine}")
    flags = NEW_MOUNTS | NEW_UTS | NEW_IPC | NEW_PID | SIGCHLD
    flags |= (NEW_USER if user else 0) | (0 if network else NEW_NET)
    call = ctypes.c_long(CLONE_NUMBERS[machine])
    nothing = ctypes.c_void_p(None)
    flags = ctypes.c_ulong(flags)
    return check("clone", libc.syscall(call, flags, nothing, nothing, nothing, nothing))


def settle(identity, folder_bytes, *, network):
    """Own mounts, own user. `identity` 0: whom the server is outside.

    Without a user namespace yet we are root, and the mounts come first: inside of one
    they would be refused.
    """
    posix.setsid()
    root = posix.geteuid() == 0
    if not root:
        map_user(INSIDE)
    owner = identity if root else INSIDE
    mount_own(owner, folder_bytes)
    if not network:
        raise_loopback()
    if root:
        become(identity)
    bind_capabilities()
    prctl(SET_DUMPABLE, 0)


def mount_own(owner, folder_bytes):
    mount(None, "/", None, RECURSIVE | PRIVATE, None)
    mount("proc", "/proc", "proc", NO_SUID | NO_DEVICES | NO_PROGRAMS, None)
    # An empty file costs about a kilobyte of the kernel's memory: they are counted too.
    options = f"size={folder_bytes},nr_inodes={folder_bytes // KIBIBYTE},mode=755"
    for folder in (TMP, ACTION):
        owned = f"{options},uid={owner},gid={owner}"
        mount("tmpfs", folder, "tmpfs", NO_SUID | NO_DEVICES, owned)


def mount(source, target, kind, flags, options):
    texts = [text and text.encode() for text in (source, target, kind, options)]
    source, target, kind, options = texts
    result = libc.mount(source, target, kind, ctypes.c_ulong(flags), options)
    check(f"mount {target.decode()}", result)


def become(identity):
    """The user `identity`, who is 1000 in a namespace that is entered with it."""
    posix.setgroups([])
    if identity:
        prctl(SET_KEEP_CAPABILITIES, 1)
        posix.setresgid(identity, identity, identity)
        posix.setresuid(identity, identity, identity)
        prctl(SET_DUMPABLE, 1)  # else /proc/self would be root's
    check("unshare user", libc.unshare(NEW_USER))
    map_user(identity)


def map_user(outside):
    for name, text in (
        ("setgroups", "deny"),
        ("gid_map", f"{INSIDE} {outside} 1"),
        ("uid_map", f"{INSIDE} {outside} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def raise_loopback():
    asking = check("socket", libc.socket(INTERNET, DATAGRAM, 0))
    request = ctypes.create_string_buffer(b"lo", INTERFACE_BYTES)
    request[NAME_BYTES] = INTERFACE_UP  # the lowest byte of its flags
    result = libc.ioctl(asking, ctypes.c_ulong(SET_FLAGS), request)
    posix.close(asking)
    check("raise lo", result)


def enter_cgroup_namespace():
    """Once we are in our group; where the kernel has none it matters little."""
    libc.unshare(NEW_CGROUP)


def bind_capabilities():
    """None can be won from here on; those that are held stay."""
    for number in range(CAPABILITIES):
        if libc.prctl(DROP_BOUND, ctypes.c_ulong(number), *nothing(3)) == -1:
            break
    libc.prctl(AMBIENT, ctypes.c_ulong(CLEAR_ALL), *nothing(3))
    prctl(SET_NO_NEW_PRIVILEGES, 1)


def give_up(steps):
    """Every capability, and what the filter `steps` refuses (may be empty)."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    check("capset", libc.capset(header, (ctypes.c_uint32 * 6)()))
    if steps:
        program = Program(len(steps) // 8, steps)
        result = libc.prctl(
            SET_SECCOMP, ctypes.c_ulong(FILTER), ctypes.byref(program), *nothing(2)
        )
        check("seccomp", result)


def prctl(option, value):
    result = libc.prctl(option, ctypes.c_ulong(value), *nothing(3))
    check(f"prctl {option}", result)


def nothing(count):
    return [ctypes.c_ulong(0)] * count
