"""A node behind the OpenWhisk client: our agent, or any OpenWhisk host.

A chunk is one blocking invocation: its answer is pushed, with nothing in between, on
every OpenWhisk. Where the wait ends first (202), an agent tells the record by its live
stream, and any other host is polled. A gateway that cuts waits short (504, as prior
systems met) is asked without waiting from then on.
"""

from __future__ import annotations

import time

import msgspec
from msgspec import UNSET, Raw

from controller.fleet.client import Client, OpenWhiskError
from controller.fleet.wire import ActionBody, Limits
from controller.fleet.wire import Outcome as Answer
from controller.mapreduce.job import MapAction
from controller.mapreduce.node import (
    Done,
    Failed,
    Lost,
    NodeDown,
    NodeUnfit,
    Outcome,
    Refused,
    Vitals,
)
from controller.mapreduce.records import Records
from controller.mapreduce.trace import context_of
from edge_agent.model.activations import Response, Status
from edge_agent.model.entities import Exec, KeyValue

#: Of a host that does not tell: what upstream lets a namespace run at once is 30.
UNTOLD_SLOTS = 16
#: After its time limit, how long a record may take to appear.
RECORD_GRACE_S = 90.0
NOT_FOUND, TOO_MANY, INTERNAL, UNAVAILABLE, GATEWAY_LATE = 404, 429, 500, 503, 504
#: What a host that is no agent of ours says to `/edge/v1`.
NO_AGENT = frozenset({400, 401, 403, 404, 405})


class FleetNode:
    """One target. The client is entered, and left, by whoever made it.

    `wait_ms`: how long an invocation waits for its end; None: as long as the host does.
    """

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        run: str,
        grace_s: float = RECORD_GRACE_S,
        wait_ms: int | None = None,
    ) -> None:
        self._client = client
        self._run = run
        self._traceparent = context_of(run).traceparent
        self._grace_s = self._record_s = grace_s
        self._wait_ms = wait_ms
        self._tells_load = True
        #: Until something between us and the host cuts a long wait short.
        self._blocking = True
        self._records = Records(client)
        self.name = name

    async def deploy(self, action_name: str, action: MapAction) -> None:
        self._record_s = self._grace_s + action.limits.get("timeout", 60_000) / 1000
        executed = Exec(
            kind=action.kind,
            code=action.code,
            main=action.main,
            binary=action.binary or UNSET,
        )
        body = ActionBody(
            exec=executed,
            annotations=[KeyValue(key="edgewhisk-run", value=self._run)],
            limits=Limits(**action.limits),
        )
        try:
            await self._client.put_action(action_name, body)
        except OpenWhiskError as error:
            raise _trouble(error) from error

    async def remove(self, action_name: str) -> None:
        try:
            await self._client.delete_action(action_name)
        except OpenWhiskError as error:
            if error.status != NOT_FOUND:
                raise _trouble(error) from error

    async def vitals(self) -> Vitals:
        try:
            if self._tells_load:
                return _vitals(await self._client.edge("load"))
            await self._client.list_actions(limit=1)
        except OpenWhiskError as error:
            if self._tells_load and error.status in NO_AGENT:
                self._tells_load = False  # not an agent of ours
                return await self.vitals()
            raise _trouble(error) from error
        return Vitals(UNTOLD_SLOTS)

    async def run(self, action_name: str, arguments: bytes) -> Outcome:
        started = time.monotonic()
        try:
            if not self._blocking:
                found = await self._client.post(
                    action_name, arguments, traceparent=self._traceparent
                )
                return await self._wait(found)
            answer = await self._client.invoke(
                action_name,
                arguments,
                wait_ms=self._wait_ms,
                traceparent=self._traceparent,
            )
        except OpenWhiskError as error:
            if error.status == GATEWAY_LATE:
                self._blocking = False
            return _refusal(error)
        if answer.response is None:
            return await self._wait(answer.activation_id)
        return _outcome(answer, time.monotonic() - started)

    async def listen(self) -> None:
        await self._records.listen()

    async def _wait(self, activation_id: str) -> Outcome:
        timeout_s = self._record_s
        try:
            record = await self._records.wait(activation_id, timeout_s=timeout_s)
        except OpenWhiskError as error:
            return Lost(str(error))
        if record is None:
            return Lost(f"no record of activation {activation_id}")
        return _read(record.response, activation_id, record.seconds)


class Timed(msgspec.Struct, frozen=True):
    duration: int | None = None


_TIMED = msgspec.json.Decoder(Timed)


def _outcome(answer: Answer, took_s: float) -> Outcome:
    """`took_s` stands in where the answer is the bare result (A66)."""
    if answer.response is None:
        return Lost("no response")
    try:
        duration_ms = _TIMED.decode(answer.body).duration
    except msgspec.MsgspecError:
        duration_ms = None
    seconds = took_s if duration_ms is None else duration_ms / 1000
    return _read(answer.response, answer.activation_id, seconds)


def _read(response: Response, activation_id: str, seconds: float) -> Outcome:
    if response.success:
        return Done(Raw(bytes(response.result)), activation_id, seconds)
    reason = f"{response.status}: {_error_text(response.result)}"
    if response.code is Status.WHISK_ERROR:
        return Lost(reason)
    return Failed(reason, activation_id)


def _error_text(result: Raw) -> str:
    try:
        error = msgspec.json.decode(result)["error"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        error = bytes(result).decode(errors="replace")
    text = error if isinstance(error, str) else msgspec.json.encode(error).decode()
    return " ".join(text.split())[:500]


def _refusal(error: OpenWhiskError) -> Outcome:
    if error.status in {TOO_MANY, UNAVAILABLE}:
        return Refused(error.retry_after_s)
    return Lost(str(error))


def _trouble(error: OpenWhiskError) -> NodeDown | NodeUnfit:
    passing = error.status in {0, TOO_MANY} or error.status >= INTERNAL
    return NodeDown(str(error)) if passing else NodeUnfit(str(error))


def _vitals(load: object) -> Vitals:
    told = load if isinstance(load, dict) else {}
    slots, cpu_s, cores = (told.get(key) for key in ("slots", "cpu_s", "cores"))
    return Vitals(
        slots if isinstance(slots, int) and slots > 0 else UNTOLD_SLOTS,
        float(cpu_s) if isinstance(cpu_s, int | float) else None,
        cores if isinstance(cores, int) and cores > 0 else None,
    )
