"""What every scenario's user does: call actions and judge the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, ClassVar

import _session  # registers the options and the deployment with Locust
from _actions import Source
from _openwhisk import NAMESPACE, Host, authorization
from _target import Target, TargetError
from locust import FastHttpUser
from locust.contrib.fasthttp import ResponseContextManager

BLOCKING_WAIT_S = 60.0
ERROR_TEXT_LENGTH = 160
THROTTLED = (
    "429 throttled: raise the limits of the namespace (EdgeWhisk: "
    "limits.invocations_per_minute, limits.concurrent_invocations; OpenWhisk: "
    "LIMITS_ACTIONS_INVOKES_PERMINUTE, LIMITS_ACTIONS_INVOKES_CONCURRENT)"
)


class ActionUser(FastHttpUser):
    """A client that invokes the actions named in `sources`, one call at a time.

    Each user makes its own sandbox warm before it is counted.
    """

    abstract = True
    sources: ClassVar[tuple[Source, ...]] = ()
    network_timeout = BLOCKING_WAIT_S + 10.0
    connection_timeout = 10.0

    def __init__(self, environment: Any) -> None:
        self.insecure = environment.parsed_options.insecure
        super().__init__(environment)
        self._headers = {
            "Authorization": authorization(environment.parsed_options.auth),
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }

    def invoke(
        self, source: Source, body: bytes, *, name: str, whole: Callable[[bytes], bool]
    ) -> None:
        """Invoke and wait; `name` is the line in Locust's table.

        A call fails unless it ends 200 with a result that is `whole`.
        """
        with self.client.post(
            self._path(source),
            data=body,  # type: ignore[arg-type]  # bytes are sent as they are
            headers=self._headers,
            name=name,
            catch_response=True,
        ) as response:
            _judge(response, whole)

    def warm(self, source: Source, arguments: object) -> None:
        """Invoke without being counted; what fails here fails again, counted."""
        options = self.environment.parsed_options
        target = Target(self.host or "", options.auth, insecure=options.insecure)
        with suppress(TargetError):
            Host(target).invoke(_session.action_name(source, options), arguments)

    def _path(self, source: Source) -> str:
        name = _session.action_name(source, self.environment.parsed_options)
        return f"{NAMESPACE}/actions/{name}?blocking=true&result=true"


def _judge(response: ResponseContextManager, whole: Callable[[bytes], bool]) -> None:
    status = response.status_code
    if status == 0:
        return  # no answer: Locust counts it with its own reason
    content = response.content or b""
    if status != HTTPStatus.OK:
        response.failure(failure_text(status, content))
    elif not whole(content):
        response.failure("200, but not with the result that was asked for")
    else:
        response.success()


def failure_text(status: int, content: bytes) -> str:
    """Why a call failed; Locust groups by the text, so a cause has one text."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return THROTTLED
    if status == HTTPStatus.ACCEPTED:
        return "202: did not end within the wait of a blocking call"
    return f"{status} {_error(content)}"[:ERROR_TEXT_LENGTH].strip()


def _error(content: bytes) -> str:
    try:
        answer = json.loads(content)
    except ValueError:
        return content[:ERROR_TEXT_LENGTH].decode(errors="replace")
    error = answer.get("error", "") if isinstance(answer, dict) else ""
    return error if isinstance(error, str) else json.dumps(error)
