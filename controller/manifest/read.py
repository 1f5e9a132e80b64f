"""wskdeploy's manifest, read.

    project:                       # optional, as is its name
      name: weather
      packages:                    # or `packages:` at the top
        station:                   # "default" is no package
          inputs, annotations, public
          actions:   {NAME: {function|code, runtime, main, inputs, annotations, limits,
                             web, docker, native, conductor, description}}
          sequences: {NAME: {actions: "a, b, /whisk.system/utils/sort", web}}
          triggers:  {NAME: {feed, inputs, annotations}}
          rules:     {NAME: {trigger, action, annotations}}

`dependencies` and `apis` are refused, keys that wskdeploy uses for itself (credentials,
versions, licences) are read over, and any other key is a mistake: it is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controller.fleet.wire import Limits
from controller.manifest.desired import (
    SEQUENCE,
    AnyWanted,
    Desired,
    WantedAction,
    WantedPackage,
    WantedRule,
    WantedTrigger,
)
from controller.manifest.document import ManifestError, Part
from controller.manifest.inputs import read_inputs
from controller.manifest.source import read_exec
from edge_agent.model.entities import Exec

__all__ = ["ManifestError", "read_manifest"]

NO_PACKAGE = "default"
#: wskdeploy's own business: whom it talks to, and what is only for people.
_OWN: tuple[str, ...] = (
    "version",
    "license",
    "namespace",
    "credential",
    "apiHost",
    "apigwAccessToken",
)
_PROJECT: tuple[str, ...] = ("name", "packages", "config", "inputs", *_OWN)
_PACKAGE: tuple[str, ...] = (
    "actions",
    "sequences",
    "triggers",
    "rules",
    "inputs",
    "annotations",
)
_PACKAGE += ("public", "description", "dependencies", "apis", "feeds", "name")
_PACKAGE += ("repositories", *_OWN)
_ACTION: tuple[str, ...] = (
    "function",
    "code",
    "runtime",
    "kind",
    "main",
    "inputs",
    "outputs",
    "limits",
)
_ACTION += ("annotations", "web", "web-export", "raw-http", "final", "docker", "native")
_ACTION += ("conductor", "description", "location", "include", "exclude", "feed")
_ACTION += ("exposedUrl", *_OWN)
_SEQUENCE: tuple[str, ...] = ("actions", "web", "annotations", "description")
_TRIGGER: tuple[str, ...] = (
    "feed",
    "source",
    "inputs",
    "annotations",
    "description",
    *_OWN,
)
_RULE: tuple[str, ...] = ("trigger", "action", "rule", "annotations", "description")
#: Of the manifest -> of the API; the others are the platform's.
_LIMITS = {"timeout": "timeout", "memorySize": "memory", "logSize": "logs"}
_FIXED_LIMITS: tuple[str, ...] = (
    "concurrentActivations",
    "userInvocationRate",
    "codeSize",
)
_FIXED_LIMITS += ("parameterSize",)
_REFUSED = {
    "dependencies": "dependencies are not resolved; put the package's actions here, or"
    " name them in full where they are used (/whisk.system/utils/sort)",
    "apis": "an API gateway is not set up from a manifest; use `web: true` and the"
    " action's own URL",
    "feeds": "a feed is an action with the annotation `feed: true`; put it in actions",
}


def read_manifest(
    path: Path, environ: Mapping[str, str], *, project: str | None = None
) -> Desired:
    """Everything the manifest asks for, code and variables filled in.

    Args:
        path: the file; code is looked for beside it.
        environ: the variables' values.
        project: in place of the name in the manifest.

    Raises:
        ManifestError: one line with file, line and fix.
    """
    top = Part.load(path, environ)
    fields = top.fields("project", "packages")
    if "project" in fields:
        inner = fields["project"].fields(*_PROJECT)
        if "packages" in inner and "packages" in fields:
            fields["packages"].fail("packages stand in project and beside it; keep one")
        fields = {**fields, **inner}
    name = project or (fields["name"].text() if "name" in fields else "")
    entities: list[AnyWanted] = []
    if "packages" in fields:
        for package, part in fields["packages"].named("package").items():
            entities += _package(package, part)
    _check_names(entities, top)
    return Desired(
        project=name or path.stem,
        named=bool(name),
        file=path.name,
        entities=entities,
    )


def _check_names(entities: list[AnyWanted], top: Part) -> None:
    """Of all collections together a name is there once (A11)."""
    seen: dict[str, AnyWanted] = {}
    for one in entities:
        other = seen.setdefault(one.name, one)
        if other is not one:
            top.fail(f"{other.key} and {one.key} have one name; rename one of them")


def _package(name: str, part: Part) -> Iterator[AnyWanted]:
    fields = part.fields(*_PACKAGE)
    for key, why in _REFUSED.items():
        if key in fields:
            fields[key].fail(f"{part.what}: {why}")
    if name != NO_PACKAGE:
        yield WantedPackage(
            name=name,
            parameters=read_inputs(fields.get("inputs")),
            annotations=_annotations(fields),
            publish="public" in fields and fields["public"].flag(),
        )
    prefix = "" if name == NO_PACKAGE else f"{name}/"
    for own, action in _named(fields, "actions", "action"):
        yield _action(prefix + own, action)
    for own, sequence in _named(fields, "sequences", "sequence"):
        yield _sequence(prefix, own, sequence)
    for own, trigger in _named(fields, "triggers", "trigger"):
        yield _trigger(own, trigger)
    for own, rule in _named(fields, "rules", "rule"):
        yield _rule(prefix, own, rule)


def _named(fields: dict[str, Part], key: str, noun: str) -> Iterator[tuple[str, Part]]:
    if key in fields:
        yield from fields[key].named(noun).items()


def _action(name: str, part: Part) -> WantedAction:
    fields = part.fields(*_ACTION)
    if "include" in fields:
        fields["include"].fail(
            f"{part.what}: include is not known here; name one folder with function:"
        )
    for old, new in (("location", "function"), ("kind", "runtime")):
        if old in fields:
            fields.setdefault(new, fields[old])
    return WantedAction(
        name=name,
        exec=read_exec(fields, part),
        parameters=read_inputs(fields.get("inputs")),
        annotations=_annotations(fields),
        limits=_limits(fields.get("limits")),
    )


def _sequence(prefix: str, name: str, part: Part) -> WantedAction:
    fields = part.fields(*_SEQUENCE)
    if "actions" not in fields:
        part.fail(f"{part.what} has no actions; name them: actions: first, second")
    value = fields["actions"].value()
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        fields["actions"].fail(f"{part.what}: actions are names, parted by commas")
    components = [_full(prefix, each.strip()) for each in names if each.strip()]
    return WantedAction(
        name=prefix + name,
        exec=Exec(kind=SEQUENCE, components=components),
        annotations=_annotations(fields),
    )


def _trigger(name: str, part: Part) -> WantedTrigger:
    fields = part.fields(*_TRIGGER)
    feed = fields.get("feed") or fields.get("source")
    return WantedTrigger(
        name=name,
        feed="" if feed is None else feed.text(),
        parameters=read_inputs(fields.get("inputs")),
        annotations=_annotations(fields),
    )


def _rule(prefix: str, name: str, part: Part) -> WantedRule:
    fields = part.fields(*_RULE)
    for key in ("trigger", "action"):
        if key not in fields:
            part.fail(f"{part.what} has no {key}; name one")
    return WantedRule(
        name=name,
        trigger=_full("", fields["trigger"].text()),
        action=_full(prefix, fields["action"].text()),
        annotations=_annotations(fields),
    )


def _full(prefix: str, name: str) -> str:
    """What has no package is in this one; `/ns/...` is full already."""
    if name.startswith("/"):
        return name
    return f"/_/{name}" if "/" in name else f"/_/{prefix}{name}"


def _annotations(fields: dict[str, Part]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "description" in fields:
        found["description"] = fields["description"].text()
    if "annotations" in fields:
        parts = fields["annotations"].named("annotation").items()
        found.update({name: part.value() for name, part in parts})
    if "conductor" in fields and fields["conductor"].flag():
        found["conductor"] = True
    for key in ("final", "raw-http", "feed"):
        value = fields[key].value() if key in fields else None
        if isinstance(value, bool):  # a trigger's feed is a name
            found.setdefault(key, value)
    return {**found, **_web(fields.get("web") or fields.get("web-export"))}


def _web(part: Part | None) -> dict[str, bool]:
    """`web: true|yes|raw|false|no` (wskdeploy); a web action's parameters are final."""
    if part is None:
        return {}
    match str(part.value()).lower():
        case "true" | "yes":
            return {"web-export": True, "raw-http": False, "final": True}
        case "raw":
            return {"web-export": True, "raw-http": True, "final": True}
        case "false" | "no":
            return {"web-export": False, "raw-http": False}
        case other:
            return part.fail(f"web is true, false or raw, not '{other}'")


def _limits(part: Part | None) -> Limits:
    if part is None:
        return Limits()
    fields = part.fields(*_LIMITS, *_FIXED_LIMITS)
    for name in _FIXED_LIMITS:
        if name in fields:
            fields[name].fail(f"{name} is the platform's own and cannot be set here")
    return Limits(**{_LIMITS[name]: one.number() for name, one in fields.items()})
