"""The fork server: an interpreter with the launcher loaded, forked into sandboxes.

It runs inside a bubblewrap, as the first process of its pid namespace, and is told by
the agent alone, over the socket on fd 3. It holds no secret and no code of anybody:
what its children are given (their pipes, their limits, the action) comes from the agent
to them directly. They share nothing writable with it and close its socket first.

Agent to server: `IDENTITY NETWORK`, and two descriptors: a pipe for the exit status and
the child's socket. Back: `ok` and a pidfd of the child, or what was wrong. The child
tells on its socket when it is settled, then waits there, *parked*, without an action's
user and without a launcher, for its limits and the four ends of its pipes (1, 2: logs;
3: answers; 4: requests). Only then it gives up its capabilities and forks the launcher,
whose parent and reaper it stays.

Forks share what an interpreter chooses at random when it starts: the layout of its
memory and the seed of its string hashes. `random` is not loaded before the fork.
"""

# Nothing is imported for style; the order of imports matters.
# ruff: noqa: ANN001, ANN002, ANN201, ANN204, E402, I001, PTH123, SIM105
# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="attr-defined,import-not-found"

import gc
import posix
import resource
import sys

sys.path.insert(0, __file__.rpartition("/")[0])
import python
import python_loop

#: What is loaded where the launcher runs by itself, too.
BARE = frozenset(sys.modules) - {"python", "python_loop", "gc"}
python.forget_malloc()  # before `os` makes a copy of the environment

import array
import select

import _socket
import python_confine as confine

CONTROL = 3
MESSAGE_BYTES = 4096
#: A kernel without close_range has them closed one by one.
MOST_DESCRIPTORS = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 16)
STATUS_BYTES = 4
EXEC = "exec"
#: By their files' names.
LAUNCHERS = {"python.pyc": python, "python_loop.pyc": python_loop}
SIGNALLED = 128


class Born(BaseException):
    """Raised in a child, to leave the server's frames behind."""


class Server:
    """`ends` maps the pidfd of each child to its pid and the pipe for its status."""

    def __init__(self, control, folder_bytes):
        self.control = control
        self.folder_bytes = folder_bytes
        self.ends = {}
        self.poll = select.epoll()
        self.poll.register(CONTROL, select.EPOLLIN)

    def serve(self):
        while True:
            for fd, _ in self.poll.poll():
                if fd != CONTROL:
                    self.reap(fd)
                elif not self.take():
                    return

    def take(self):
        """One request; False when the agent has gone."""
        text, descriptors = receive(self.control, 2)
        if not text:
            return False
        status, place = descriptors
        identity, network = map(int, text.split())
        try:
            pid = confine.clone(user=posix.geteuid() != 0, network=network)
        except OSError as error:
            self.control.send(str(error).encode())
            close(status, place)
            return True
        if pid == 0:
            raise Born(place, identity, network)
        close(place)
        pidfd = posix.pidfd_open(pid)
        self.ends[pidfd] = pid, status
        self.poll.register(pidfd, select.EPOLLIN)
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", [pidfd]))
        self.control.sendmsg([b"ok"], [rights])
        return True

    def reap(self, pidfd):
        """A child has ended, and with it all of its namespace."""
        pid, status = self.ends.pop(pidfd)
        _, told = posix.waitpid(pid, 0)
        code = posix.waitstatus_to_exitcode(told)
        try:
            posix.write(status, code.to_bytes(STATUS_BYTES, "little", signed=True))
        except BrokenPipeError:
            pass  # nobody wants to know any more
        self.poll.unregister(pidfd)
        close(pidfd, status)

    def forget(self):
        """In a child: let no object close a number that will be somebody else's."""
        self.control.detach()
        self.poll.close()


def receive(channel, count):
    """Text and descriptors; the text is empty when the other end is closed."""
    size = array.array("i").itemsize
    text, parts, _, _ = channel.recvmsg(MESSAGE_BYTES, _socket.CMSG_SPACE(count * size))
    descriptors = array.array("i")
    for _, _, data in parts:
        descriptors.frombytes(data)
    return text, list(descriptors)


def close(*descriptors):
    for fd in descriptors:
        posix.close(fd)


def park(place, identity, network, folder_bytes):
    """In the child: settle, say so, and wait for what it shall run with.

    That is the launcher, the limits and the arguments of the launcher.
    """
    posix.dup2(place, CONTROL)
    posix.closerange(CONTROL + 1, MOST_DESCRIPTORS)
    channel = _socket.socket(fileno=CONTROL)
    try:
        confine.settle(identity, folder_bytes, network=network)
    except OSError as error:
        channel.send(str(error).encode())
        posix._exit(1)  # noqa: SLF001
    channel.send(b"ok")
    text, descriptors = receive(channel, 4)
    channel.detach()
    if not text:
        posix._exit(0)  # noqa: SLF001
    put_in_place(descriptors)
    return text.decode().split("\0")


def put_in_place(descriptors):
    """On 1 to 4; they came on numbers from 4 on, and the first is moved first."""
    for number, fd in enumerate(descriptors, 1):
        posix.dup2(fd, number)
    posix.closerange(len(descriptors) + 1, MOST_DESCRIPTORS)


def look_after(launcher):
    """Reap whatever ends here, until the launcher does; then all the rest is killed."""
    posix.closerange(0, MOST_DESCRIPTORS)
    while True:
        pid, status = posix.waitpid(-1, 0)
        if pid == launcher:
            code = posix.waitstatus_to_exitcode(status)
            posix._exit(code if code >= 0 else SIGNALLED - code)  # noqa: SLF001


def become_bare():
    """Let an action find its own modules before ours, and ours unused."""
    for name in [name for name in sys.modules if name not in BARE]:
        del sys.modules[name]


def become_sandbox(server, steps, place, identity, network):
    """In the child: the limits, in the process that shall be the launcher."""
    server.forget()
    told = park(place, identity, network, server.folder_bytes)
    try:
        confine.enter_cgroup_namespace()
        confine.give_up(steps)
        launcher = posix.fork()
    except OSError as error:
        posix.write(2, f"{error}\n".encode())
        raise
    if launcher:
        look_after(launcher)
    confine.prctl(confine.SET_DUMPABLE, 1)
    return told


def become_program(limits, arguments):
    """A launcher that is no Python's: how many variables, they, and its command."""
    count, *rest = arguments
    variables, command = rest[: int(count)], rest[int(count) :]
    try:
        python.set_limits(limits)
        posix.execve(command[0], command, dict(v.split("=", 1) for v in variables))
    except OSError as error:
        posix.write(2, f"{command[0]}: {error}\n".encode())
    posix._exit(1)  # noqa: SLF001


def run(folder, folder_bytes, filter_path):
    with open(filter_path, "rb") as file:
        steps = file.read()
    server = Server(_socket.socket(fileno=CONTROL), int(folder_bytes))
    become_bare()
    compile("0", "", "exec")  # the first one makes the compiler's types: a millisecond
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page that holds an object
    born = None
    try:
        server.serve()
    except Born as error:
        born = error.args
    if born is None:
        return
    try:
        launcher, limits, *arguments = become_sandbox(server, steps, *born)
    except BaseException:  # an end in the manner of Python is not for a raw clone
        posix._exit(1)  # noqa: SLF001
    if launcher == EXEC:
        become_program(limits, arguments)
    LAUNCHERS[launcher].serve(folder, limits, arguments)


if __name__ == "__main__":
    del sys.path[0]
    run(*sys.argv[1:])
