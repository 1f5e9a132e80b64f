"""What a sequence may be made of (B8, B47, A61c).

A sequence counts the actions it comes to once those it names are written out in its
place. Every PUT is checked, so a circle can be closed only by the sequence that is put,
or by binding a package anew: hence the bound on depth, here as when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET

from edge_agent.engine.catalog_bodies import full_name
from edge_agent.model.entities import Action, KeyValue
from edge_agent.model.errors import BadRequest, MalformedContent
from edge_agent.model.names import FullName

TOO_MANY = "Too many actions in the sequence."
COMPONENT_GONE = "Sequence component does not exist."
#: The one parameter of a sequence: its components, for clients that look there.
ACTIONS = "_actions"

#: The name of what an action really is, and its components; None when it has none.
Expand = Callable[[FullName], tuple[FullName, Sequence[FullName] | None]]


def read_components(value: Any, *, own: str) -> list[FullName]:
    """`components` as sent; `own` is what `_` means in them.

    Raises:
        MalformedContent: it is no list, or a name in it is not fully qualified.
    """
    if not isinstance(value, list):
        raise MalformedContent("'components' must be defined for sequence kind")
    return [full_name(component, own=own) for component in value]


def check_sequence(
    name: FullName, components: Sequence[FullName], *, expand: Expand, limit: int
) -> None:
    """Raise BadRequest unless a sequence `name` may have these components.

    Whatever `expand` raises comes through: it is asked for one name after the other, as
    they would run.
    """
    if not components:
        raise BadRequest("No component specified for the sequence.")
    if len(components) > limit:
        raise BadRequest(TOO_MANY)
    actions = 0
    left = [(component, 1) for component in reversed(components)]
    while left:
        component, depth = left.pop()
        if component == name:
            raise BadRequest("Sequence may not refer to itself.")
        place, inner = expand(component)
        if place == name:
            raise BadRequest("Sequence may not refer to itself.")
        if inner is None:
            actions += 1
        left += [(each, depth + 1) for each in reversed(inner or ())]
        if actions > limit or depth > limit:
            raise BadRequest(TOO_MANY)


def shown(components: Sequence[FullName]) -> list[str]:
    """As they are stored and shown: with the real namespace and a leading slash."""
    return [f"/{component}" for component in components]


def components_of(action: Action) -> list[FullName]:
    """The components of a sequence; of any other action none."""
    components = action.exec.components
    if components is UNSET:
        return []
    return [FullName.parse(each, own=action.namespace) for each in components]


def parameters_of(components: list[str]) -> list[KeyValue]:
    return [KeyValue(key=ACTIONS, value=components)]
