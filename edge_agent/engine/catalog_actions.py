"""Actions of the catalogue: what a PUT makes of them; get, list, delete (B5-B12)."""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from edge_agent.engine.bindings import overlay, package_name
from edge_agent.engine.builtins import BUILTIN_KIND
from edge_agent.engine.catalog_bodies import (
    ActionPut,
    ExecPut,
    LimitsPut,
    read_action,
)
from edge_agent.engine.catalog_kinds import BLACKBOX, SEQUENCE, Kinds, accept_kind
from edge_agent.engine.catalog_lookup import Lookup
from edge_agent.engine.catalog_sequences import (
    COMPONENT_GONE,
    check_sequence,
    components_of,
    parameters_of,
    read_components,
    shown,
)
from edge_agent.engine.catalog_sizes import check_entries, check_exec
from edge_agent.engine.limits import Limits
from edge_agent.model.entities import (
    FIRST_VERSION,
    Action,
    ActionLimits,
    Exec,
    KeyValue,
    Package,
    next_version,
)
from edge_agent.model.errors import BadRequest, Conflict, MalformedContent, NotFound
from edge_agent.model.jobs import Identity
from edge_agent.model.limits import Bounds, SystemLimits
from edge_agent.model.names import FullName
from edge_agent.store.entities import EntityStore

ON_BINDING = "Operation not permitted on package binding."
CHANGED_MEANWHILE = "Concurrent modification to resource detected."
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_QUANTUM = 4
_CODELESS = (BUILTIN_KIND, SEQUENCE)


def decide_action(
    existing: Action | None,
    put: ActionPut,
    *,
    name: FullName,
    exec_: Exec | None,
    now_ms: int,
    limits: SystemLimits,
) -> Action:
    """The action that a PUT leaves behind; `exec_` is None when none was sent.

    Raises:
        BadRequest: there is no exec to make an action of, or a limit is out of range.
    """
    if existing is None:
        if exec_ is None:
            raise BadRequest("exec undefined")
        existing = _blank(name, exec_, limits)
        version = FIRST_VERSION
    else:
        version = next_version(existing.version)
    exec_ = exec_ or existing.exec
    return replace(
        existing,
        version=put.version or version,
        publish=existing.publish if put.publish is None else put.publish,
        annotations=_annotations(existing.annotations, put, kind=exec_.kind),
        parameters=_parameters(existing, put, exec_),
        exec=exec_,
        limits=decide_limits(existing.limits, put.limits),
        updated=now_ms,
    )


def decide_exec(put: ExecPut, kinds: Kinds, *, own: str) -> Exec:
    """Check `exec` and make what is stored of it (B5-B8).

    `own` is the namespace that `_` means in the components of a sequence.

    Raises:
        MalformedContent: the kind is not served here, or a field has the wrong form.
    """
    kind, fields = put.kind, put.fields
    if kind == SEQUENCE:
        components = read_components(fields.get("components"), own=own)
        return Exec(kind=kind, components=shown(components))
    image = _string(fields, "image", kind) if kind == BLACKBOX else UNSET
    if kind != BLACKBOX:
        kind = accept_kind(kind, kinds)
    code = _code(fields, kind)
    return Exec(
        kind=kind,
        image=image,
        code=code,
        binary=code is not UNSET and is_binary(code),
        main=_string(fields, "main", kind) if fields.get("main") else UNSET,
    )


def is_binary(code: str) -> bool:
    """Whether code looks like base64, which is all that upstream asks (B6)."""
    return (
        bool(code) and len(code) % _QUANTUM == 0 and _BASE64.fullmatch(code) is not None
    )


def decide_limits(old: ActionLimits, put: LimitsPut | None) -> ActionLimits:
    """The limits that were sent, over those that stand (B11)."""
    if put is None:
        return old
    sent = {k: v for k, v in msgspec.structs.asdict(put).items() if v is not None}
    return replace(old, **sent)


def check_limits(put: LimitsPut | None, limits: SystemLimits) -> None:
    """Raise BadRequest for the first limit sent that is out of range (A61a)."""
    if put is None:
        return
    _check(put.timeout, limits.timeout_ms, "duration", " milliseconds")
    _check(put.memory, limits.memory_mb, "memory size", " MB")
    _check(put.logs, limits.logs_mb, "log size", " MB")
    _check(put.concurrency, limits.concurrency, "concurrency", "")


class Actions:
    """The use cases; `updated` of what it stores is strictly rising."""

    def __init__(
        self,
        entities: EntityStore,
        lookup: Lookup,
        *,
        kinds: Kinds,
        limits: Limits,
    ) -> None:
        self._entities = entities
        self._lookup = lookup
        self._kinds = kinds
        self._limits = limits

    async def put(
        self, identity: Identity, name: FullName, body: bytes, *, overwrite: bool
    ) -> Action:
        """Create or update; the answer has its code.

        Raises:
            Forbidden, NotFound, Conflict, BadRequest, TooLarge: see A29, A56a, A61a.
        """
        self._lookup.check_changeable(identity, name)
        self._package_of(name)
        put = read_action(body)
        exec_ = None
        if put.exec is not None:
            exec_ = decide_exec(put.exec, self._kinds, own=identity.namespace)
            self._limits.check_kind(name.namespace, exec_.kind)
        self._check_sizes(put, exec_)
        limits = self._limits.of(name.namespace)
        check_limits(put.limits, limits)
        action = decide_action(
            self._lookup.to_put(Action, name, overwrite=overwrite),
            put,
            name=name,
            exec_=exec_,
            now_ms=self._lookup.next_ms(),
            limits=limits,
        )
        if exec_ is not None and exec_.components is not UNSET:
            self._check_sequence(identity, name, components_of(action))
        code = None if exec_ is None else (exec_.code or "")
        await self._entities.put(without_code(action), code=code)
        return await self._with_code(action)

    async def get(
        self, identity: Identity, name: FullName, *, code: bool = True
    ) -> Action:
        """The action with the parameters of its packages under its own (A30)."""
        found, opened = self._lookup.readable_action(identity, name)
        shown = await self._with_code(found) if code else without_code(found)
        if opened is None:
            return shown
        parameters = overlay(opened.parameters, shown.parameters)
        binding = UNSET if code or not opened.binding else str(opened.binding)
        return replace(shown, parameters=parameters, binding=binding)

    async def delete(self, identity: Identity, name: FullName) -> Action:
        self._lookup.check_changeable(identity, name)
        self._package_of(name)
        action = self._lookup.get(Action, name)
        shown = await self._with_code(action)
        if self._entities.find(name) is not action:
            raise Conflict(CHANGED_MEANWHILE)
        await self._entities.delete(action)
        return shown

    def all(self, identity: Identity, namespace: str) -> list[Action]:
        self._lookup.check_own(identity, namespace)
        return self._lookup.all_of(Action, namespace)

    def of_package(self, identity: Identity, package: FullName) -> list[Action]:
        """What a package or its provider has, feeds included (A28)."""
        provider = self._lookup.open_package(identity, package).provider
        return self._lookup.all_of(Action, provider.namespace, package=provider.name)

    def _package_of(self, name: FullName) -> None:
        package = package_name(name)
        if package is not None and self._lookup.get(Package, package).binding:
            raise BadRequest(ON_BINDING)

    def _check_sequence(
        self, identity: Identity, name: FullName, components: list[FullName]
    ) -> None:
        def expand(component: FullName) -> tuple[FullName, list[FullName] | None]:
            try:
                action, _ = self._lookup.readable_action(identity, component)
            except NotFound as error:
                raise BadRequest(COMPONENT_GONE) from error
            return action.full_name, components_of(action) or None

        limit = self._limits.system.sequence_length
        check_sequence(name, components, expand=expand, limit=limit)

    def _check_sizes(self, put: ActionPut, exec_: Exec | None) -> None:
        check_exec(exec_, limit=self._limits.system.code_bytes)
        check_entries(put, limit=self._limits.system.payload_bytes)

    async def _with_code(self, action: Action) -> Action:
        if action.exec.code is not UNSET or action.exec.kind in _CODELESS:
            return action
        code: str | UnsetType = await self._entities.code(action)
        if not code and action.exec.kind == BLACKBOX:
            code = UNSET
        return replace(action, exec=replace(action.exec, code=code))


def without_code(action: Action) -> Action:
    return replace(action, exec=replace(action.exec, code=UNSET))


def _blank(name: FullName, exec_: Exec, limits: SystemLimits) -> Action:
    return Action(
        namespace=name.path,
        name=name.name,
        annotations=[KeyValue(key="provide-api-key", value=False)],
        exec=exec_,
        limits=ActionLimits(
            timeout=limits.timeout_ms.standard,
            memory=limits.memory_mb.standard,
            logs=limits.logs_mb.standard,
            concurrency=limits.concurrency.standard,
        ),
    )


def _parameters(existing: Action, put: ActionPut, exec_: Exec) -> list[KeyValue]:
    """Those sent, else those that stand; a sequence has its components only (B8)."""
    if exec_.components is not UNSET:
        return parameters_of(exec_.components)
    was_sequence = existing.exec.components is not UNSET
    standing = [] if was_sequence else existing.parameters
    return standing if put.parameters is None else put.parameters


def _annotations(
    standing: list[KeyValue], put: ActionPut, *, kind: str
) -> list[KeyValue]:
    """Merged: sent ones win, `delAnnotations` go, `exec` is ours (B10, B11)."""
    kept = [a for a in standing if a.key not in put.del_annotations]
    exec_ = KeyValue(key="exec", value=kind)
    return overlay(kept, [*(put.annotations or []), exec_])


def _string(fields: dict[str, object], key: str, kind: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str):
        raise MalformedContent(
            f"'{key}' must be a string defined in 'exec' for '{kind}' actions"
        )
    return value


def _code(fields: dict[str, object], kind: str) -> str | UnsetType:
    code = fields.get("code")
    if isinstance(code, str):
        return code
    if code is None and kind == BLACKBOX:
        return UNSET
    raise MalformedContent(
        "'code' must be a string or attachment object defined in 'exec' "
        f"for '{kind}' actions"
    )


def _check(value: int | None, bounds: Bounds, what: str, unit: str) -> None:
    if value is None or value in bounds:
        return
    below = value < bounds.least
    relation = "below" if below else "exceeds"
    threshold = bounds.least if below else bounds.greatest
    raise BadRequest(
        f"requirement failed: {what} {value}{unit} {relation} "
        f"allowed threshold of {threshold}{unit}"
    )
