"""What a scenario has on the host while it runs.

The names begin with the run's own id, so that two runs never meet and whatever an
interrupted one left behind is known by its name.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from _actions import Source
from _openwhisk import Host


def entity_name(name: str, options: Namespace) -> str:
    """The deployed name; `options` reach the workers of a distributed run as well."""
    return f"loadtest-{options.run_id}-{name}"


@dataclass(frozen=True)
class Action:
    source: Source
    memory_mb: int = 0  # the host's default

    @property
    def name(self) -> str:
        name, memory = self.source.name, self.memory_mb
        return f"{name}-{memory}" if memory else name

    def put(self, host: Host, options: Namespace) -> None:
        limits = {"limits": {"memory": self.memory_mb}} if self.memory_mb else {}
        code = self.source.of(options.family)
        executable = {"kind": f"{options.family}:default", "code": code}
        body = {"exec": executable, **limits}
        host.put("actions", entity_name(self.name, options), body)

    def delete(self, host: Host, options: Namespace) -> None:
        host.delete("actions", entity_name(self.name, options))


@dataclass(frozen=True)
class Sequence:
    """Actions of the same scenario, one after the other."""

    name: str
    components: tuple[str, ...]

    def put(self, host: Host, options: Namespace) -> None:
        names = [f"/_/{entity_name(name, options)}" for name in self.components]
        body = {"exec": {"kind": "sequence", "components": names}}
        host.put("actions", entity_name(self.name, options), body)

    def delete(self, host: Host, options: Namespace) -> None:
        host.delete("actions", entity_name(self.name, options))


@dataclass(frozen=True)
class FeedRule:
    """A trigger that a feed fires, and the rule from it to an action."""

    name: str
    feed: str
    action: str
    parameters: Mapping[str, Any]
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def put(self, host: Host, options: Namespace) -> None:
        name, action = (entity_name(each, options) for each in (self.name, self.action))
        noted = [{"key": k, "value": v} for k, v in self.annotations.items()]
        host.put("triggers", name, {})
        body = {"trigger": f"/_/{name}", "action": f"/_/{action}", "annotations": noted}
        host.put("rules", f"{name}-rule", body)
        host.tell_feed(self.feed, "CREATE", name, self.parameters)

    def delete(self, host: Host, options: Namespace) -> None:
        name = entity_name(self.name, options)
        host.tell_feed(self.feed, "DELETE", name, {}, refusable=True)
        host.delete("rules", f"{name}-rule")
        host.delete("triggers", name)


Entity = Action | Sequence | FeedRule
