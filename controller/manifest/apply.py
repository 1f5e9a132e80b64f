"""Nodes made to have what manifests ask for: all at once, each on its own.

On a node, what fails is told in one line and what needs it is left out; the rest goes
on, but nothing is removed after a failure. A node that is away is given up at once;
the others do not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from controller.fleet.client import Client
from controller.fleet.feeds import FeedError, call_feed, delete_trigger
from controller.fleet.target import Target
from controller.fleet.transport import OpenWhiskError
from controller.fleet.wire import (
    ActionBody,
    Limits,
    PackageBody,
    RuleBody,
    TriggerBody,
)
from controller.manifest.desired import (
    AnyWanted,
    Desired,
    Key,
    WantedAction,
    WantedPackage,
    WantedRule,
    WantedTrigger,
    mark,
)
from controller.manifest.plan import Change, Op, Plan, Present, plan, version_after
from controller.manifest.present import read_present
from edge_agent.model.entities import ActionLimits, KeyValue

#: Feeds that put a new subscription in the place of the old one by themselves.
_REPLACING = "/whisk.system/"
_NOT_FOUND = 404
#: Nothing more is tried on a node that is away or knows no such key.
_HOPELESS = frozenset({0, 401})


@dataclass(slots=True)
class NodeResult:
    """What was done on one node, or (`--check`) would be; `problems` are one line each.

    `away` says why nothing could be read or why the rest was given up.
    """

    target: Target
    planned: list[Change] = field(default_factory=list)
    done: list[Change] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    away: str = ""

    @property
    def well(self) -> bool:
        return not self.problems and not self.away


async def apply_manifest(
    clients: Sequence[Client],
    wanted: Sequence[Desired],
    *,
    prune: bool = True,
    check: bool = False,
) -> list[NodeResult]:
    """Apply manifests, one after the other, on every node at once.

    Args:
        clients: one for each node, entered.
        wanted: what is desired; see `controller.manifest.kept` for a fleet's own.
        prune: remove what a named project had and no longer has.
        check: plan only.
    """

    async def one(client: Client) -> NodeResult:
        result = NodeResult(client.target)
        try:
            for desired in wanted:
                await _apply(client, desired, result, prune=prune, check=check)
        except OpenWhiskError as error:
            result.away = str(error)
        return result

    return list(await asyncio.gather(*map(one, clients)))


async def differences(client: Client, wanted: Sequence[Desired]) -> int:
    """How many changes would make the node what it should be."""
    if not wanted:
        return 0
    present = await read_present(client)
    plans = [plan(desired, present, prune=True) for desired in wanted]
    return sum(len(p.changes) + len(p.conflicts) for p in plans)


async def _apply(
    client: Client, desired: Desired, result: NodeResult, *, prune: bool, check: bool
) -> None:
    decided = plan(desired, await read_present(client), prune=prune)
    result.planned += decided.changes
    result.problems += decided.conflicts
    if not check:
        await _carry_out(_Node(client, desired), decided, result)


async def _carry_out(node: _Node, decided: Plan, result: NodeResult) -> None:
    failed: set[Key] = set()
    for change in decided.changes:
        if change.op is Op.DELETE and failed:
            continue
        missing = failed.intersection(change.wanted.needs) if change.wanted else ()
        if missing:
            failed.add(change.key)
            result.problems.append(f"{change.key}: left out, it needs {min(missing)}")
            continue
        try:
            await node.do(change)
        except (OpenWhiskError, FeedError) as error:
            if isinstance(error, OpenWhiskError) and error.status in _HOPELESS:
                raise
            failed.add(change.key)
            result.problems.append(f"{change.key}: {_reason(error)}")
        else:
            result.done.append(change)


def _reason(error: OpenWhiskError | FeedError) -> str:
    text = error.text if isinstance(error, OpenWhiskError) else str(error)
    return " ".join(text.split())


class _Node:
    """Carries out single changes on one node."""

    def __init__(self, client: Client, desired: Desired) -> None:
        self._client = client
        self._desired = desired

    async def do(self, change: Change) -> None:
        wanted = change.wanted
        match wanted:
            case None:
                await self._delete(change.key)
            case WantedPackage():
                body = PackageBody(
                    parameters=_pairs(wanted.parameters),
                    annotations=self._annotations(wanted, change.version),
                    publish=wanted.publish,
                )
                await self._client.put_package(wanted.name, body)
            case WantedAction():
                await self._put_action(wanted, change)
            case WantedTrigger():
                await self._put_trigger(wanted, change)
            case WantedRule():
                rule = RuleBody(
                    trigger=wanted.trigger,
                    action=wanted.action,
                    annotations=self._annotations(wanted, change.version),
                )
                await self._client.put_rule(wanted.name, rule)

    async def _put_action(self, wanted: WantedAction, change: Change) -> None:
        body = ActionBody(
            exec=wanted.exec,
            parameters=_pairs(wanted.parameters),
            annotations=self._annotations(wanted, change.version),
            limits=_limits(wanted.limits, change.present),
        )
        await self._client.put_action(wanted.name, body)

    async def _put_trigger(self, wanted: WantedTrigger, change: Change) -> None:
        """Mark it as under way, let its feed do its part, then mark it as done."""
        old = change.present.feed if change.present else ""
        done = mark(self._desired, wanted, change.version)
        if wanted.feed or old:
            begun = mark(self._desired, None, "")
            made = await self._write_trigger(wanted, old or wanted.feed, begun)
            try:
                await self._feed(wanted, old)
            except (OpenWhiskError, FeedError):
                if change.op is Op.CREATE:
                    with suppress(OpenWhiskError):
                        await self._client.delete_trigger(wanted.name)
                raise
            done = mark(self._desired, wanted, version_after(Present(made)))
        await self._write_trigger(wanted, wanted.feed, done)

    async def _write_trigger(
        self, trigger: WantedTrigger, feed: str, managed: KeyValue
    ) -> str:
        annotations = [*_pairs(trigger.annotations), managed]
        if feed:
            annotations.append(KeyValue(key="feed", value=feed))
        body = TriggerBody(
            parameters=[] if trigger.feed else _pairs(trigger.parameters),
            annotations=annotations,
        )
        return (await self._client.put_trigger(trigger.name, body)).version

    async def _feed(self, wanted: WantedTrigger, old: str) -> None:
        replaces = old == wanted.feed and old.startswith(_REPLACING)
        if old and not replaces:
            with suppress(OpenWhiskError, FeedError):
                await call_feed(self._client, old, "DELETE", wanted.name)
        if wanted.feed:
            await call_feed(
                self._client, wanted.feed, "CREATE", wanted.name, wanted.parameters
            )

    async def _delete(self, key: Key) -> None:
        do = {
            "packages": self._client.delete_package,
            "actions": self._client.delete_action,
            "rules": self._client.delete_rule,
        }
        try:
            if key.collection == "triggers":
                await delete_trigger(self._client, key.name)
            else:
                await do[key.collection](key.name)
        except OpenWhiskError as error:
            if error.status != _NOT_FOUND:
                raise

    def _annotations(self, wanted: AnyWanted, version: str) -> list[KeyValue]:
        return [*_pairs(wanted.annotations), mark(self._desired, wanted, version)]


def _limits(wanted: Limits, present: Present | None) -> Limits:
    """What the manifest does not say is the default, also where it said it before."""
    if present is None or present.limits is None:
        return wanted
    usual = msgspec.structs.asdict(ActionLimits())
    there = msgspec.structs.asdict(present.limits)
    given = {
        k: v
        for k, v in msgspec.structs.asdict(wanted).items()
        if v is not msgspec.UNSET
    }
    back = {k: usual[k] for k in ("timeout", "memory", "logs") if there[k] != usual[k]}
    return Limits(**{**back, **given})


def _pairs(values: dict[str, object]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]
