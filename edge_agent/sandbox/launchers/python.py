"""Runs one Python action: the far end of `process.py`.

Standard library only, run by the interpreter of the user's choice as `python3 -I -S`.
Requests are JSON lines on fd 4, the init request first; answers are lines on fd 3: `+`
(ok) or `-`, then JSON. Arguments: the work folder, the resource limits as
`number=value,...`, and what extends `sys.path`.

Half of a cold start is imports, so nothing is imported that one can do without: `json`
costs 8 ms and `os` 1.3 ms on a small machine, `traceback` 10. A fork server imports it
instead (`python_fork.py`) and calls `serve` in each child.
"""

# Names of types would have to be imported too, and `os` and `pathlib` are not.
# ruff: noqa: ANN001, ANN201, PTH123, SLF001
# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="arg-type,assignment,attr-defined,import-not-found"

import builtins
import posix
import sys

sys.path.insert(0, __file__.rpartition("/")[0])
from python_codec import dumps, loads

del sys.path[0], sys.modules["python_codec"]

ANSWERS, REQUESTS = 3, 4
#: Tells the agent that main ran out of memory, which a plain death does not.
OUT_OF_MEMORY = 113
COROUTINE = 0x80
SMALL, LARGE = 1 << 16, 1 << 20
LINE = b"\n"

NO_CODE = "Missing main/no code to execute."
NO_BINARY = "The action failed to generate or locate a binary. See logs for details."
NO_START = "Cannot start action. Check logs for details."
NO_PACKAGES = "The packages that the action requires cannot be installed:"
NO_RESULT = "The action did not return a dictionary or array."
NO_JSON = "The action did not return a result that is JSON: "


class Place:
    """Where and who we are, once `serve` knows."""

    folder = ""
    pid = 0
    #: One read takes all of a large request, once there has been one.
    read_bytes = SMALL


#: What the environment holds of the last activation.
TOLD: dict[str, object] = {}


class Refused(Exception):
    """Init failed; the text goes to the caller, the reason is on stderr."""


def read_line():
    """The next request; empty when the agent has closed its end."""
    chunk = posix.read(REQUESTS, Place.read_bytes)
    if chunk.endswith(LINE) or not chunk:
        return chunk
    parts = [chunk]
    Place.read_bytes = LARGE
    while not chunk.endswith(LINE):
        chunk = posix.read(REQUESTS, LARGE)
        if not chunk:
            return b""
        parts.append(chunk)
    return b"".join(parts)


def answer(status, text):
    try:
        pieces = [status.encode(), text.encode(), LINE]
    except UnicodeEncodeError:  # lone surrogates: only escapes can carry them
        import json  # noqa: PLC0415

        pieces = [status.encode(), json.dumps(json.loads(text)).encode(), LINE]
    sent, size = posix.writev(ANSWERS, pieces), sum(map(len, pieces))
    while sent < size:
        sent += posix.write(ANSWERS, memoryview(b"".join(pieces))[sent:])


def answer_error(text):
    answer("-", error_text(text))


def error_text(text):
    return '{"error":' + dumps([text])[1:-1] + "}"


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S112 - the user closed or replaced it
            continue


def put_environment(variables):
    """Before `os` is imported its dictionary is `posix.environ`, in bytes."""
    os = sys.modules.get("os")
    if os is not None:
        os.environ.update(variables)
        return
    for name, value in variables.items():
        key, text = name.encode(), value.encode("utf-8", "surrogateescape")
        posix.environ[key] = text
        posix.putenv(key, text)


def print_exception(error):
    """As the interpreter does, but without our own frames."""
    trace = error.__traceback__
    error.__traceback__ = trace and trace.tb_next
    flush()
    sys.__excepthook__(type(error), error, error.__traceback__)


def say(text):
    sys.stderr.write(text + "\n")


def write_source(code):
    with open("main__.py", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(code)
    return "main__.py", code


def unpack(code):
    """A base64 zip with `__main__.py` at its root, into the work folder."""
    if "__main__.py" not in unpack_all(decoded(code)):
        say("Zip file does not include __main__.py")
        raise Refused(NO_BINARY)
    with open("__main__.py", "rb") as file:
        return "__main__.py", file.read()


def decoded(code):
    import binascii  # noqa: PLC0415

    try:
        return binascii.a2b_base64(code)
    except binascii.Error as error:
        say(f"The action is not base64: {error}")
        raise Refused(NO_BINARY) from None


def unpack_all(data):
    """A zip into the work folder; the names that it holds."""
    import io  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                extract(archive, entry)
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError) as error:
        say(f"The action is not a zip file: {error}")
        raise Refused(NO_BINARY) from None


def extract(archive, entry):
    name, mode = entry.filename, entry.external_attr >> 16
    if name.startswith("/") or ".." in name.split("/") or "\\" in name:
        say(f"Zip file has a path outside the action: {name}")
        raise Refused(NO_BINARY)
    try:
        path = archive.extract(entry)
        if mode & 0o111 and not entry.is_dir():
            posix.chmod(path, 0o755)
    except Exception as error:  # damaged data, encryption, a full folder
        say(f"{name} cannot be unpacked: {error}")
        raise Refused(NO_BINARY) from None


def activate_virtualenv():
    """C31: a `virtualenv` folder beside the code goes first on the path."""
    try:
        posix.stat("virtualenv")
    except OSError:
        return
    for path in (
        "virtualenv/bin/activate_this.py",
        "virtualenv/Scripts/activate_this.py",
    ):
        try:
            with open(path, encoding="utf-8") as file:
                source = file.read()
        except OSError:
            continue
        exec(compile(source, path, "exec"), {"__file__": path, "__name__": path})
        return
    say("Invalid virtualenv. Zip file does not include 'activate_this.py'.")
    raise Refused(NO_BINARY)


def add_packages():
    """C32: what requirements.txt asks for; the agent has it, or builds it."""
    try:
        with open("requirements.txt", encoding="utf-8", errors="replace") as file:
            wanted = file.read(LARGE)
        posix.stat("virtualenv")
    except FileNotFoundError as error:
        if error.filename == "requirements.txt":
            return
    else:
        return
    answer("?", dumps([wanted]))
    said = loads(read_line().decode())
    if "error" in said:
        raise Refused(f"{NO_PACKAGES} {said['error']}")
    if said["packages"]:
        sys.path.insert(1, said["packages"])


def load(request):
    """The user's function.

    Raises:
        Refused: there is none; the reason has gone to stderr.
    """
    if not request["code"] or not request["main"]:
        raise Refused(NO_CODE)
    if request["binary"]:
        path, source = unpack(request["code"])
        activate_virtualenv()
        add_packages()
    else:
        path, source = write_source(request["code"])
    try:
        compiled = compile(source, f"{Place.folder}/{path}", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        print_exception(error)
        raise Refused(NO_BINARY) from None
    return find_main(run_module(compiled, path), request["main"])


def run_module(compiled, path):
    module = type(sys)("main__")
    module.__file__ = f"{Place.folder}/{path}"
    module.__builtins__ = builtins
    sys.modules["main__"] = module
    try:
        exec(compiled, module.__dict__)
    except MemoryError:
        leave_out_of_memory()
    except Exception as error:
        print_exception(error)
        raise Refused(NO_START) from None
    return module


def find_main(module, name):
    found = getattr(module, name, None)
    if callable(found):
        return found
    say(f"ImportError: cannot import name '{name}' from 'main__' ({module.__file__})")
    raise Refused(NO_START)


def leave_out_of_memory():
    flush()
    posix._exit(OUT_OF_MEMORY)


def run(main, line):
    request = loads(line.decode())
    arguments = request.pop("value", {})
    tell(request)
    try:
        result = main(arguments)
    except MemoryError:
        leave_out_of_memory()
    except Exception as error:
        print_exception(error)
        result = {"error": str(error)}
    status, text = judge(result)
    flush()
    answer(status, text)


def tell(request):
    """Most variables are the same for every activation of a sandbox."""
    fresh = [(key, value) for key, value in request.items() if TOLD.get(key) != value]
    TOLD.update(fresh)
    put_environment({f"__OW_{k.upper()}": v for k, v in fresh if type(v) is str})


def judge(result):
    """The status and the text of an answer."""
    if posix.getpid() != Place.pid:  # a fork of main must not answer in its place
        flush()
        posix._exit(0)
    try:
        text = dumps(result) if isinstance(result, (dict, list, tuple)) else None
    except (TypeError, ValueError, RecursionError) as error:
        return "-", error_text(NO_JSON + str(error))
    except MemoryError:
        leave_out_of_memory()
    return ("-", error_text(NO_RESULT)) if text is None else ("+", text)


def initialise():
    line = read_line()
    if not line:
        sys.exit(0)
    request = loads(line.decode())
    put_environment(request["env"])
    try:
        main = load(request)
    except Refused as error:
        flush()
        answer_error(str(error))
        sys.exit(0)
    many = None
    if is_coroutine(main):
        many = load_many()
        if request.get("concurrency", 1) == 1:
            main, many = many.waiting(main), None
    flush()
    answer("+", '{"ok":true,"concurrent":true}' if many else '{"ok":true}')
    return main, many


def is_coroutine(function):
    code = getattr(function, "__code__", None)
    return code is not None and code.co_flags & COROUTINE != 0


def load_many():
    """The module for `async def main`; an action's own of that name is left alone."""
    sys.path.insert(0, __file__.rpartition("/")[0])
    standing = sys.modules.pop("python_many", None)
    try:
        import python_many  # noqa: PLC0415
    finally:
        del sys.path[0], sys.modules["python_many"]
        if standing is not None:
            sys.modules["python_many"] = standing
    return python_many


def set_limits(limits):
    import resource  # noqa: PLC0415

    for limit in limits.split(","):
        number, _, value = limit.partition("=")
        hard = resource.getrlimit(int(number))[1]
        value = int(value) if hard < 0 else min(int(value), hard)
        resource.setrlimit(int(number), (value, value))


def forget_malloc():
    """What the C library was told at our start is not the action's to see."""
    for name in [name for name in posix.environ if name.startswith(b"MALLOC_")]:
        del posix.environ[name]
        posix.unsetenv(name)


def prepare(limits, packages):
    """Limits first, then what `site` would have done and users expect."""
    set_limits(limits)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # JSON's numbers have no limit; main's time has
    builtins.exit = builtins.quit = sys.exit
    posix.chdir(Place.folder)
    sys.argv = ["main__.py"]
    sys.path[:0] = [Place.folder]
    sys.path += packages
    for fd in (ANSWERS, REQUESTS):
        posix.set_inheritable(fd, False)
    answer("+", '{"ok":true}')


def serve(folder, limits, packages):
    """Init one action and run it until the agent closes its end."""
    Place.folder, Place.pid = folder, posix.getpid()
    prepare(limits, packages)
    main, many = initialise()
    if many is not None:
        many.serve(type(sys.implementation)(**globals()), main)
        return
    while line := read_line():
        run(main, line)


# We are `__main__` then, where the user's pickles must not look.
if __name__ == "__main__":
    forget_malloc()
    serve(sys.argv[1], sys.argv[2], sys.argv[3:])
