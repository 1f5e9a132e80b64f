"""What a sequence does next (B47, B48): pure, values in and values out.

A sequence ends with the response of the last component that ran. It ends early when
that was no success, when the next component is not there, or when too many actions have
run, those of the sequences inside it counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from edge_agent.engine.catalog_sequences import COMPONENT_GONE, TOO_MANY
from edge_agent.engine.resolve import Runnable
from edge_agent.model.activations import Response, Status, failure

_fields = msgspec.json.Decoder(dict[str, Raw])


class Invoke(msgspec.Struct, frozen=True):
    """Run this component with the result of the one before it."""

    component: Runnable


class Finish(msgspec.Struct, frozen=True):
    """The sequence has ended with this response."""

    response: Response


def next_step(
    components: Sequence[Runnable | None],
    *,
    done: int,
    last: Response | None,
    actions: int,
    limit: int,
) -> Invoke | Finish:
    """What follows when `done` of the components have run.

    Args:
        components: as they were when the sequence started (A91), None for those that
            were not there.
        done: how many of them have run.
        last: how the last of them ended, None before the first.
        actions: how many actions have run, nested sequences written out.
        limit: how many may.
    """
    if last is not None and (done == len(components) or stops(last)):
        return Finish(last)
    if actions >= limit:
        return Finish(failure(Status.APPLICATION_ERROR, TOO_MANY))
    component = components[done]
    if component is None:
        return Finish(failure(Status.APPLICATION_ERROR, COMPONENT_GONE))
    return Invoke(component)


def stops(response: Response) -> bool:
    """Whether a component's response ends its sequence.

    What a runtime says with a field `error` is no success; a composition can end as a
    success with one (B55), and then the size is not known.
    """
    if not response.success:
        return True
    if response.size is not msgspec.UNSET or b'"error"' not in bytes(response.result):
        return False
    try:
        return "error" in _fields.decode(response.result)
    except msgspec.MsgspecError:  # an array
        return False
