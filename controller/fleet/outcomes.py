"""What a host answers to an invocation that was waited for."""

from __future__ import annotations

import msgspec

from controller.fleet.transport import OpenWhiskError, Reply
from controller.fleet.wire import Accepted, Outcome
from edge_agent.model.activations import ActivationRecord, Status, failure, success

ACCEPTED = 202
_RECORD = msgspec.json.Decoder(ActivationRecord)


def read_outcome(reply: Reply) -> Outcome:
    if reply.status == ACCEPTED:  # it still runs (A70)
        found = reply.activation_id or reply.decode(Accepted).activation_id
        return Outcome(found, None, reply.body)
    if reply.body.startswith(b"["):  # A66: the bare array, even without `result`
        if reply.is_outcome:
            response = failure(Status.APPLICATION_ERROR, msgspec.Raw(reply.body))
        else:
            response = success(reply.body)
        return Outcome(reply.activation_id, response, reply.body)
    try:
        record = _RECORD.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text = f"the answer is not an activation: {error}"
        raise OpenWhiskError(reply.status, text) from error
    return Outcome(record.activation_id, record.response, reply.body)
