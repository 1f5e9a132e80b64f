"""Runs programs that speak OpenWhisk's own protocols instead of ours.

`loop` (C25): the program takes our place. Requests come on its stdin, a JSON line each,
`{"value":...,"activation_id":...}`; it answers with JSON lines on fd 3. The agent reads
them as they are; a launcher of a manifest writes `{"ok":true}` first.
`exec` (C46): the program is run once for each activation, with the arguments as its
first argument and on stdin; the last line of its stdout is the result.

Arguments: the work folder, the limits, then the mode and what is run:

- `native`, `loop` or `exec`, and the name of the program. `native` finds out: it is a
  script that nowhere names descriptor 3, then `exec`, else `loop`.
- `launcher`, the name of the source file, an interpreter, its launcher's file name and
  variables as `NAME=value`; the launcher is told the source's path and what `main` is.
"""

# ruff: noqa: ANN001, ANN201, E402, PTH123, SLF001
# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="attr-defined,import-not-found"

import posix
import sys

HERE = __file__.rpartition("/")[0]
sys.path.insert(0, HERE)
import python

del sys.path[0]

STDIN, STDOUT = 0, 1
BEGINNING = 0
#: What `execve` takes as one argument.
LONGEST_ARGUMENT = 131_071
CHUNK = 1 << 16
EXECUTABLE = 0o755
#: What the image of upstream's skeleton holds until it is given code.
STUB = """#!/bin/sh
echo 'This is a stub action that should be replaced with user code.'
echo '{"error":"This is a stub action. Replace it with custom logic."}'
"""
#: How a script names descriptor 3: >&3, /dev/fd/3, fdopen(3, IO.new(3, writeSync(3 ...
THREE = (
    rb"fd\W{1,3}3\b|&=?3\b|write\w*\s*\(\s*3\b|(?:open|new|fd)[ (][^()\n]{0,40}\b3\b"
)
#: A zip that holds this file holds a program of the loop (C28).
ENVIRONMENT_FILE = "exec.env"


def place(request, mode, source):
    """Put the action's code where it is run; the path of its program."""
    code = request["code"]
    if not code:
        if mode != "exec":
            raise python.Refused(python.NO_CODE)
        write(source, STUB.encode())
    elif request["binary"]:
        unpack(code, source)
    else:
        write(source, code.encode("utf-8", "surrogateescape"))
    return f"{python.Place.folder}/{source}"


def write(name, data):
    with open(name, "wb") as file:
        file.write(data)
    posix.chmod(name, EXECUTABLE)


def unpack(code, source):
    """A zip with the program at its root, or the program itself."""
    data = python.decoded(code)
    if not data.startswith(b"PK"):
        write(source, data)
        return
    if source not in python.unpack_all(data):
        python.say(f"Zip file does not include {source}")
        raise python.Refused(python.NO_BINARY)
    posix.chmod(source, EXECUTABLE)


def is_loop(mode, path):
    """Whether the program stays and answers on descriptor 3."""
    if mode == "loop" or has(ENVIRONMENT_FILE):
        return True
    if mode == "exec":
        return False
    import re  # noqa: PLC0415

    with open(path, "rb") as file:
        text = file.read()
    return not text.startswith(b"#!") or re.search(THREE, text) is not None


def has(name):
    try:
        posix.stat(name)
    except OSError:
        return False
    return True


def become(command, *, acknowledges):
    """Let the program take our place; returns only when it cannot.

    That it has begun, a process tells that sees its end of a pipe close: we are gone by
    then. It is nobody's child, for the program shall have none.
    """
    read_end, write_end = posix.pipe()
    if not acknowledges and posix.fork() == 0:
        if posix.fork() == 0:
            posix.close(write_end)
            if not posix.read(read_end, 1):
                python.answer("+", '{"ok":true}')
        posix._exit(0)
    posix.close(read_end)
    if not acknowledges:
        posix.wait()
    posix.dup2(python.REQUESTS, STDIN)
    posix.set_inheritable(python.ANSWERS, True)
    try:
        posix.execve(command[0], command, posix.environ)
    except OSError as error:
        posix.set_inheritable(python.ANSWERS, False)
        if not acknowledges:
            posix.write(write_end, b"-")
        python.say(f"{command[0]} cannot be run: {error}")
    raise python.Refused(python.NO_START)


def run_once(path, line):
    """One activation of a program of the skeleton's contract."""
    request = python.loads(line.decode())
    text = python.dumps(request.pop("value", {}))
    told = {f"__OW_{k.upper()}": v for k, v in request.items() if type(v) is str}
    python.put_environment(told)
    last = b""
    try:
        last = last_line(path, text.encode("utf-8", "surrogatepass"))
    except OSError as error:
        python.say(f"{path} cannot be run: {error}")
    answer_line(last.strip())


def last_line(path, text):
    """Run it, and pass on all that it prints but the last line, which is returned."""
    given = posix.memfd_create("arguments")
    posix.write(given, text)
    posix.lseek(given, 0, BEGINNING)
    read_end, write_end = posix.pipe()
    actions = [(posix.POSIX_SPAWN_DUP2, given, STDIN)]
    actions += [(posix.POSIX_SPAWN_DUP2, write_end, STDOUT)]
    arguments = [path, text] if len(text) <= LONGEST_ARGUMENT else [path]
    try:
        pid = posix.posix_spawn(path, arguments, posix.environ, file_actions=actions)
    except BaseException:
        posix.close(read_end)
        raise
    finally:
        posix.close(given)
        posix.close(write_end)
    try:
        return pass_on(read_end)
    finally:
        posix.close(read_end)
        posix.waitpid(pid, 0)


def pass_on(fd):
    """Lines go to the log as they come, except the last one that is not empty."""
    kept = b""
    while chunk := posix.read(fd, CHUNK):
        kept += chunk
        begin = kept.rstrip().rfind(b"\n") + 1
        show(kept[:begin])
        kept = kept[begin:]
    return kept


def show(text):
    while text:
        text = text[posix.write(STDOUT, text) :]


def answer_line(line):
    try:
        fits = isinstance(python.loads(line.decode()), (dict, list))
    except (ValueError, StopIteration, RecursionError):
        fits = False
    if fits:
        python.answer("+", line.decode())
        return
    if line:
        show(line + b"\n")
    python.answer_error(python.NO_RESULT)


def initialise(mode, names):
    """The path of a program of the skeleton; any other has taken our place."""
    line = python.read_line()
    if not line:
        sys.exit(0)
    request = python.loads(line.decode())
    python.put_environment(request["env"])
    source, *launcher = names
    try:
        path = place(request, mode, source)
        if launcher:
            interpreter, file, *variables = launcher
            python.put_environment(dict(v.split("=", 1) for v in variables))
            command = [interpreter, f"{HERE}/{file}", path, request["main"]]
            become(command, acknowledges=True)
        if is_loop(mode, path):
            become([path], acknowledges=False)
    except python.Refused as error:
        python.flush()
        python.answer_error(str(error))
        sys.exit(0)
    python.answer("+", '{"ok":true}')
    return path


def serve(folder, limits, arguments):
    """Init one action, and hand over to it or run it until the agent has gone."""
    mode, *names = arguments
    python.Place.folder, python.Place.pid = folder, posix.getpid()
    python.prepare(limits, [])
    path = initialise(mode, names)
    while line := python.read_line():
        run_once(path, line)


if __name__ == "__main__":
    python.forget_malloc()
    serve(sys.argv[1], sys.argv[2], sys.argv[3:])
