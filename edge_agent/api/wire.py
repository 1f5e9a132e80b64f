"""What the wire shows of entities (B12, B16, B18, B19, B22, B25, B26)."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from edge_agent.engine.catalog_packages import Contents
from edge_agent.model.entities import (
    Action,
    ActionLimits,
    Binding,
    Entity,
    KeyValue,
    Package,
    Reference,
    Rule,
    Trigger,
    Wire,
)


class Summary(Wire, frozen=True, kw_only=True):
    """What an action or a feed is inside its package (B18)."""

    name: str
    version: str
    annotations: list[KeyValue]


class ExecItem(Wire, frozen=True, kw_only=True):
    binary: bool


class ActionItem(Entity, frozen=True, kw_only=True):
    """List item: no parameters, no code."""

    limits: ActionLimits
    exec: ExecItem


class TriggerItem(Entity, frozen=True, kw_only=True):
    pass


class RuleItem(Entity, frozen=True, kw_only=True):
    """List item: without `status`."""

    trigger: Reference
    action: Reference


class PackageItem(Entity, frozen=True, kw_only=True):
    """List item: `binding` is false when the package is none."""

    binding: Binding | bool


class RuleLink(Wire, frozen=True, kw_only=True):
    action: Reference
    status: str


class TriggerAnswer(Entity, frozen=True, kw_only=True):
    """`rules` is left out until a rule has named the trigger."""

    parameters: list[KeyValue]
    limits: dict[str, Any]
    rules: dict[str, RuleLink] | UnsetType


class RuleAnswer(Entity, frozen=True, kw_only=True):
    status: str
    trigger: Reference
    action: Reference


class PackageAnswer(Entity, frozen=True, kw_only=True):
    """`binding` is an empty object when the package is none."""

    parameters: list[KeyValue]
    binding: Binding | dict[str, str]
    actions: list[Summary] | UnsetType = UNSET
    feeds: list[Summary] | UnsetType = UNSET


def action_item(action: Action) -> ActionItem:
    binary = action.exec.binary is True
    return ActionItem(
        **_common(action), limits=action.limits, exec=ExecItem(binary=binary)
    )


def trigger_item(trigger: Trigger) -> TriggerItem:
    return TriggerItem(**_common(trigger))


def rule_item(rule: Rule) -> RuleItem:
    return RuleItem(**_common(rule), trigger=rule.trigger, action=rule.action)


def package_item(package: Package) -> PackageItem:
    return PackageItem(**_common(package), binding=package.binding or False)


def trigger_answer(trigger: Trigger, rules: list[Rule]) -> TriggerAnswer:
    links = {
        str(rule.full_name): RuleLink(action=rule.action, status=_status(rule))
        for rule in rules
    }
    return TriggerAnswer(
        **_common(trigger),
        parameters=trigger.parameters,
        limits={},
        rules=links if links or trigger.had_rules else UNSET,
    )


def rule_answer(rule: Rule) -> RuleAnswer:
    return RuleAnswer(
        **_common(rule),
        status=_status(rule),
        trigger=rule.trigger,
        action=rule.action,
    )


def package_answer(package: Package) -> PackageAnswer:
    return PackageAnswer(
        **_common(package),
        parameters=package.parameters,
        binding=package.binding or {},
    )


def contents_answer(contents: Contents) -> PackageAnswer:
    """A package with its actions and feeds."""
    feeds = [a for a in contents.actions if a.annotation("feed") is not None]
    actions = [a for a in contents.actions if a not in feeds]
    return msgspec.structs.replace(
        package_answer(contents.package),
        actions=[_summary(action) for action in actions],
        feeds=[_summary(feed) for feed in feeds],
    )


def _summary(action: Action) -> Summary:
    return Summary(
        name=action.name, version=action.version, annotations=action.annotations
    )


def _status(rule: Rule) -> str:
    return "active" if rule.active else "inactive"


def _common(entity: Entity) -> Any:
    return {
        "namespace": entity.namespace,
        "name": entity.name,
        "version": entity.version,
        "publish": entity.publish,
        "annotations": entity.annotations,
        "updated": entity.updated,
    }
