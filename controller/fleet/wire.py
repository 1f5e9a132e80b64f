"""What the OpenWhisk API takes and gives where that differs from what is stored.

Bodies of PUT leave out what is to be kept (`UNSET`), lists show less than GET does,
and the status of a rule is a word.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from edge_agent.model.activations import Response
from edge_agent.model.entities import (
    ActionLimits,
    Binding,
    Entity,
    Exec,
    KeyValue,
    Reference,
    Wire,
)


class Limits(Wire, frozen=True, kw_only=True):
    """`timeout` in ms, `memory` and `logs` in MB; UNSET keeps the present value."""

    timeout: int | UnsetType = UNSET
    memory: int | UnsetType = UNSET
    logs: int | UnsetType = UNSET
    concurrency: int | UnsetType = UNSET


class ActionBody(Wire, frozen=True, kw_only=True):
    exec: Exec | UnsetType = UNSET
    parameters: list[KeyValue] | UnsetType = UNSET
    annotations: list[KeyValue] | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET


class TriggerBody(Wire, frozen=True, kw_only=True):
    parameters: list[KeyValue] | UnsetType = UNSET
    annotations: list[KeyValue] | UnsetType = UNSET


class PackageBody(Wire, frozen=True, kw_only=True):
    binding: Binding | UnsetType = UNSET
    parameters: list[KeyValue] | UnsetType = UNSET
    annotations: list[KeyValue] | UnsetType = UNSET
    publish: bool | UnsetType = UNSET


class RuleBody(Wire, frozen=True, kw_only=True):
    """`trigger` and `action` are full names: `/ns/[pkg/]name`."""

    trigger: str
    action: str
    annotations: list[KeyValue] | UnsetType = UNSET


class ActionItem(Entity, frozen=True, kw_only=True):
    """An action in a list (B12): without code and parameters."""

    limits: ActionLimits = ActionLimits()

    @property
    def kind(self) -> str:
        return self.annotation("exec") or ""


class RuleOfTrigger(Wire, frozen=True, kw_only=True):
    action: Reference
    status: str


class TriggerView(Entity, frozen=True, kw_only=True):
    """A trigger as GET shows it (B22); in lists without parameters and rules."""

    parameters: list[KeyValue] = []
    rules: dict[str, RuleOfTrigger] = {}


class RuleView(Entity, frozen=True, kw_only=True):
    """A rule (B25); `status` is empty in lists (B26)."""

    trigger: Reference
    action: Reference
    status: str = ""


class PackageView(Entity, frozen=True, kw_only=True):
    """A package (B16, B18, B19); `binding` is `{}`, false or names another."""

    parameters: list[KeyValue] = []
    binding: Any = None
    actions: list[dict[str, Any]] = []
    feeds: list[dict[str, Any]] = []


class Outcome(msgspec.Struct, frozen=True):
    """How a blocking invocation ended.

    `response` is None when it still runs (the wait was over first): ask for its
    record later. `body` is the answer as it came: the whole record, or the bare
    result where that is an array (A66).
    """

    activation_id: str
    response: Response | None
    body: bytes

    @property
    def success(self) -> bool:
        return self.response is not None and self.response.success

    @property
    def result(self) -> Raw:
        """JSON text; `{}` while it still runs."""
        return Raw(b"{}") if self.response is None else self.response.result


class ErrorBody(msgspec.Struct, frozen=True):
    """A5. `code` is missing in application errors, which are results."""

    error: Any = None
    code: Any = None


class Accepted(Wire, frozen=True, kw_only=True):
    activation_id: str
