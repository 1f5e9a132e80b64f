"""Where errors become exit codes, and one line each.

    0    done
    1    the work failed: a host refused or is not there, an action failed
    2    the input was wrong: nothing was done
    130  interrupted

An error class of ours may carry its own `exit_code`. A traceback is shown with
`--debug` only; without it even a fault of ours is one line.
"""

from __future__ import annotations

import traceback
from typing import Any

from controller.cli.output import complain, talk
from edge_agent.model.errors import EdgeWhiskError, RequestError, SettingsError

DONE, FAILED, INPUT, INTERRUPTED = 0, 1, 2, 130

#: What a host answers when the request itself was wrong.
_WRONG_REQUEST = frozenset({400, 413, 415})
#: Modules that only an extra brings, and its name.
EXTRAS = {
    "aiohttp": "controller",
    "ansible": "controller",
    "kubernetes": "kubernetes",
    "kubernetes_validate": "kubernetes",
    "rich": "controller",
    "ruamel": "controller",
    "typer": "controller",
    "yaml": "controller",
    "zeroconf": "controller",
    "locust": "loadtests",
    "gevent": "loadtests",
    "amqtt": "dev",
    "cryptography": "controller",
    "uvloop": "agent",
}


class InputError(EdgeWhiskError):
    """What was typed or named cannot be used."""

    exit_code = INPUT


class Failed(EdgeWhiskError):
    """The work failed; the text says what."""

    exit_code = FAILED


def report(error: BaseException, *, debug: bool) -> int:
    """Say on stderr what went wrong, and give the exit code."""
    if isinstance(error, KeyboardInterrupt):
        talk("", "interrupted")
        return INTERRUPTED
    if debug:
        talk("", "".join(traceback.format_exception(error)).rstrip())
    problems = getattr(error, "problems", None)  # several at once, a line for each
    for text in str(error).splitlines() if problems else [one_line(error)]:
        if text:
            complain(text)
    return exit_code(error)


def exit_code(error: BaseException) -> int:
    if isinstance(error, BaseExceptionGroup):
        return exit_code(error.exceptions[0])
    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return own
    if getattr(error, "status", None) in _WRONG_REQUEST:
        return INPUT
    wrong = (RequestError, SettingsError, ModuleNotFoundError)
    return INPUT if isinstance(error, wrong) else FAILED


def one_line(error: BaseException) -> str:
    """What a person is told: what is wrong, never where in our code."""
    if _is_usage(error):
        return _usage(error)
    if isinstance(error, ModuleNotFoundError):
        return missing(error)
    if isinstance(error, BaseExceptionGroup):
        return one_line(error.exceptions[0])
    text = " ".join(str(error).split())
    if isinstance(error, (EdgeWhiskError, OSError)):
        return text or type(error).__name__
    return f"a fault of edgectl: {type(error).__name__}: {text} (--debug shows more)"


def missing(error: ModuleNotFoundError) -> str:
    name = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(name)
    if extra is None:
        return f"a fault of edgectl: {error}"
    return (
        f"this needs '{name}': edgectl needs the extra:"
        f" pip install 'edgewhisk[{extra}]'"
    )


def _is_usage(error: BaseException) -> bool:
    """Typer's own errors; its versions disagree about their class."""
    return hasattr(error, "format_message")


def _usage(error: Any) -> str:
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""  # the help has been shown
    text = str(error.format_message()).strip()
    path = error.ctx.command_path if getattr(error, "ctx", None) else "edgectl"
    return f"{text} (see: {path} --help)"
