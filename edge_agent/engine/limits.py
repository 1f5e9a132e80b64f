"""The limits in force: the node's, and those of namespaces that have their own (D27).

They change while the node runs, so whoever obeys one asks for it each time: that is an
attribute, and one look-up where a namespace is concerned.
"""

from __future__ import annotations

from edge_agent.model.errors import Forbidden
from edge_agent.model.limits import NamespaceLimits, SystemLimits


class Limits:
    """Owns them; `system` are those of all namespaces without their own."""

    def __init__(self, system: SystemLimits) -> None:
        self.system = system
        self._own: dict[str, NamespaceLimits] = {}
        self._of: dict[str, SystemLimits] = {}

    def of(self, namespace: str) -> SystemLimits:
        return self._of.get(namespace, self.system)

    def own(self, namespace: str) -> NamespaceLimits:
        """What the namespace has of its own; the rest of it is None."""
        return self._own.get(namespace, NamespaceLimits())

    def is_shut(self, namespace: str) -> bool:
        """Whether nothing of the namespace may run at all (C20, D26)."""
        limits = self.of(namespace)
        return not (limits.invocations_per_minute and limits.concurrent_invocations)

    def check_kind(self, namespace: str, kind: str) -> None:
        """Raise Forbidden unless the namespace may have actions of that kind (A52a)."""
        allowed = self.own(namespace).allowed_kinds
        if allowed is not None and kind not in allowed:
            raise Forbidden(kind=kind)

    def set_system(self, system: SystemLimits) -> None:
        self.system = system
        self._of = {name: own.laid_over(system) for name, own in self._own.items()}

    def set_own(self, namespace: str, own: NamespaceLimits | None) -> None:
        """Give a namespace limits of its own; None: those of all again."""
        if own is None:
            self._own.pop(namespace, None)
            self._of.pop(namespace, None)
        else:
            self._own[namespace] = own
            self._of[namespace] = own.laid_over(self.system)
