"""`edge-agent user`: subjects, their keys and their limits (wskadmin's commands).

Keys are shown when they are made and when one asks for a subject, never in lists.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from edge_agent.admin import AdminError, Work, do
from edge_agent.engine.subjects import Subjects
from edge_agent.model.errors import BadRequest, RequestError, Unavailable
from edge_agent.model.limits import NamespaceLimits
from edge_agent.model.subjects import Subject, SubjectPatch, SubjectPut
from edge_agent.settings import load_settings

EXIT_DONE, EXIT_FAILED, EXIT_INPUT = 0, 1, 2
_LIMITS = [field.encode_name for field in msgspec.structs.fields(NamespaceLimits)]


def add_user(commands: Any) -> None:
    """Add `user` to the agent's commands."""
    user = commands.add_parser("user", help="who may use the node, and how much")
    verbs = user.add_subparsers(required=True, metavar="COMMAND")
    create = _add(verbs, "create", "make a subject, or give one more namespaces")
    create.add_argument("--auth", metavar="UUID:KEY", help="the key to be used")
    get = _add(verbs, "get", "show a subject's keys")
    delete = _add(verbs, "delete", "delete a subject; what is in its namespaces stays")
    for verb in (create, get, delete):
        verb.add_argument(
            "--namespace",
            action="store" if verb is delete else "append",
            metavar="NS",
            help="this one alone" if verb is delete else "may be given several times",
        )
    _add(verbs, "list", "list subjects and their namespaces", named=False)
    _add(verbs, "block", "refuse a subject's keys")
    _add(verbs, "unblock", "take a blocked subject's keys again")
    limits = verbs.add_parser("limits", help="what a namespace may")
    limited = limits.add_subparsers(required=True, metavar="COMMAND")
    _add(
        limited,
        "get",
        "show the limits that are its own",
        name="namespace",
        verb="limits",
    )
    change = _add(
        limited, "set", "change some of them", name="namespace", verb="limits_set"
    )
    change.add_argument(
        "limit", nargs="+", metavar="NAME=VALUE", help=f"of {', '.join(_LIMITS)}"
    )
    _add(limited, "delete", "the node's again", name="namespace", verb="limits_delete")


def _add(
    verbs: Any,
    word: str,
    text: str,
    *,
    named: bool = True,
    name: str = "subject",
    verb: str = "",
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(word, help=text)
    if named:
        parser.add_argument("name", metavar=name.upper())
    parser.add_argument("--settings", type=Path, metavar="FILE", help="a TOML file")
    parser.add_argument("--data", metavar="DIR", help="the data folder (data_dir)")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(command=_run, verb=verb or word)
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options.settings, data_dir=options.data)
    try:
        found = do(_WORK[options.verb](options), settings)
    except AdminError as error:
        return _fail(str(error), wrong=error.wrong)
    except (RequestError, Unavailable) as error:
        return _fail(str(error), wrong=isinstance(error, BadRequest))
    if options.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        _SHOW.get(options.verb, _tell)(options, found)
    return EXIT_DONE


def _fail(text: str, *, wrong: bool) -> int:
    sys.stderr.write(f"error: {text}\n")
    return EXIT_INPUT if wrong else EXIT_FAILED


# -- what is to be done ----------------------------------------------------------------


def _subject(options: argparse.Namespace) -> str:
    return f"subjects/{quote(options.name, safe='')}"


def _create(options: argparse.Namespace) -> Work:
    body = SubjectPut(namespaces=options.namespace or [], auth=options.auth)
    return Work(
        method="PUT",
        path=_subject(options),
        body=body,
        offline=lambda s: s.create(options.name, body.namespaces, auth=body.auth),
        answer=Subject,
    )


def _get(options: argparse.Namespace) -> Work:
    async def get(subjects: Subjects) -> Subject:
        return subjects.get(options.name)

    return Work(method="GET", path=_subject(options), offline=get, answer=Subject)


def _list(_: argparse.Namespace) -> Work:
    async def all_of(subjects: Subjects) -> list[Subject]:
        return subjects.all()

    return Work(method="GET", path="subjects", offline=all_of, answer=list[Subject])


def _delete(options: argparse.Namespace) -> Work:
    named = (
        f"?namespace={quote(options.namespace, safe='')}" if options.namespace else ""
    )
    return Work(
        method="DELETE",
        path=_subject(options) + named,
        offline=lambda subjects: subjects.delete(options.name, options.namespace),
        answer=Subject,
    )


def _block(options: argparse.Namespace) -> Work:
    blocked = options.verb == "block"
    return Work(
        method="PATCH",
        path=_subject(options),
        body=SubjectPatch(blocked=blocked),
        offline=lambda subjects: subjects.block(options.name, blocked=blocked),
        answer=Subject,
    )


def _limits(options: argparse.Namespace) -> Work:
    async def limits(subjects: Subjects) -> NamespaceLimits:
        return subjects.limits(options.name)

    path = f"limits/{quote(options.name, safe='')}"
    return Work(method="GET", path=path, offline=limits, answer=NamespaceLimits)


def _limits_set(options: argparse.Namespace) -> Work:
    """PATCH: those named, beside those that stand; `none` takes one away."""
    changes = dict(map(_read_limit, options.limit))
    return Work(
        method="PATCH",
        path=f"limits/{quote(options.name, safe='')}",
        body=changes,
        offline=lambda subjects: subjects.change_limits(options.name, changes),
        answer=NamespaceLimits,
    )


def _limits_delete(options: argparse.Namespace) -> Work:
    return Work(
        method="DELETE",
        path=f"limits/{quote(options.name, safe='')}",
        offline=lambda subjects: subjects.set_limits(options.name, None),
        answer=None,
    )


def _read_limit(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found or name not in _LIMITS:
        raise BadRequest(
            f"{text}: expected NAME=VALUE with one of {', '.join(_LIMITS)}"
        )
    if value == "none":
        return name, None
    if name == "allowedKinds":
        return name, value.split(",")
    return name, int(value) if value.isdecimal() else value


_WORK: dict[str, Callable[[argparse.Namespace], Work]] = {
    "create": _create,
    "get": _get,
    "list": _list,
    "delete": _delete,
    "block": _block,
    "unblock": _block,
    "limits": _limits,
    "limits_set": _limits_set,
    "limits_delete": _limits_delete,
}

# -- what is shown ---------------------------------------------------------------------


def _tell(options: argparse.Namespace, _: object) -> None:
    done = {"delete": "deleted", "block": "blocked", "unblock": "unblocked"}
    what = done.get(options.verb, "deleted the limits of")
    sys.stdout.write(f"ok: {what} {options.name}\n")


def _show_keys(options: argparse.Namespace, found: Subject) -> None:
    """One key alone, as wskadmin shows it; of several each with its namespace."""
    wanted = options.namespace or []
    shown = [one for one in found.namespaces if not wanted or one.name in wanted]
    for one in shown:
        name = f"{one.name}\t" if len(shown) > 1 else ""
        sys.stdout.write(f"{name}{one.uuid}:{one.key}\n")
    if found.blocked:
        sys.stderr.write(f"{found.subject} is blocked\n")


def _show_list(_: argparse.Namespace, found: list[Subject]) -> None:
    for subject in found:
        names = ",".join(one.name for one in subject.namespaces)
        blocked = "\tblocked" if subject.blocked else ""
        sys.stdout.write(f"{subject.subject}\t{names}{blocked}\n")


def _show_limits(_: argparse.Namespace, found: NamespaceLimits) -> None:
    for name, value in json.loads(msgspec.json.encode(found)).items():
        text = ",".join(value) if isinstance(value, list) else value
        sys.stdout.write(f"{name}={text}\n")


_SHOW: dict[str, Callable[[argparse.Namespace, Any], None]] = {
    "create": _show_keys,
    "get": _show_keys,
    "list": _show_list,
    "limits": _show_limits,
    "limits_set": _show_limits,
}
