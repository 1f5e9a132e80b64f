"""What every scenario's user does: call actions and judge the answers.

A scenario says what one call is (`one`). Whether its users call when they have been
answered or when a call is due is the run's affair (`--rate`), not the scenario's.
"""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, cast

import _session  # registers the deployment with Locust
from _actions import Source
from _arrivals import due_times
from _entities import Action, Entity, entity_name
from _open_loop import OVERLOADED, OpenLoop
from _openwhisk import NAMESPACE, Host, authorization, tls_context
from _target import Target, TargetError
from _times import UNKNOWN, Record, read_record
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FastHttpSession, ResponseContextManager
from locust.event import EventHook

__all__ = ["ActionUser", "_session"]

BLOCKING_WAIT_S = 60.0
ERROR_TEXT_LENGTH = 160
THROTTLED = (
    "429 throttled: raise the limits of the namespace (EdgeWhisk: "
    "limits.invocations_per_minute, limits.concurrent_invocations; OpenWhisk: "
    "LIMITS_ACTIONS_INVOKES_PERMINUTE, LIMITS_ACTIONS_INVOKES_CONCURRENT)"
)
INCOMPLETE = "200, but not with the result that was asked for"
Whole = Callable[[Any], bool]


class ActionUser(FastHttpUser):
    """A client that invokes the actions of `sources`.

    Each user makes its own sandbox warm before it is counted.
    """

    abstract = True
    sources: ClassVar[tuple[Source, ...]] = ()
    network_timeout = BLOCKING_WAIT_S + 10.0
    connection_timeout = 10.0
    concurrency = 10_000  # the bound of an open loop is its own

    def __init__(self, environment: Any) -> None:
        options = environment.parsed_options
        self.insecure = options.insecure
        self.ssl_context_factory = partial(
            tls_context, insecure=options.insecure, ca_file=options.ca_file
        )
        super().__init__(environment)
        #: For calls that are not counted.
        self.aside = FastHttpSession(
            self.host,
            EventHook(),
            None,
            insecure=options.insecure,
            ssl_context_factory=self.ssl_context_factory,
            concurrency=self.concurrency,
            network_timeout=self.network_timeout,
            connection_timeout=self.connection_timeout,
        )
        self.headers = {
            "Authorization": authorization(options.auth),
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }

    @classmethod
    def entities(cls, options: Namespace) -> Sequence[Entity]:
        """What is on the host while this scenario runs.

        Raises:
            TargetError: an option of the scenario is wrong.
        """
        del options
        return [Action(source) for source in cls.sources]

    def one(self, due: float | None) -> None:
        """Make one call, which was `due` then (`time.perf_counter`), or is now."""
        raise NotImplementedError

    @task
    def call(self) -> None:
        options = self.options
        if not options.rate:
            self.one(None)
            return
        times = due_times(options.rate, options.arrivals)
        OpenLoop(self.one, self._refuse).run(times)

    @property
    def options(self) -> Namespace:
        return cast("Namespace", self.environment.parsed_options)

    @property
    def target(self) -> Target:
        options = self.options
        return Target(
            self.host or "",
            options.auth,
            insecure=options.insecure,
            ca_file=options.ca_file,
        )

    def invoke(
        self, action: str, body: bytes, *, name: str, whole: Whole, due: float | None
    ) -> Record | None:
        """Invoke and wait; `name` is the line in Locust's table.

        A call fails unless it ends 200 with a result that is `whole`.
        """
        path = f"{NAMESPACE}/actions/{entity_name(action, self.options)}?blocking=true"
        sent = time.perf_counter()
        with self.client.post(
            path,
            data=body,  # type: ignore[arg-type]  # bytes are sent as they are
            headers=self.headers,
            name=name,
            catch_response=True,
        ) as response:
            late_ms = 0.0 if due is None else (sent - due) * 1000
            response.request_meta["response_time"] += late_ms
            record = read_record(response.content or b"")
            response.request_meta["context"] = {
                "late_ms": late_ms,
                "status": response.status_code,
                "times": record.times if record else UNKNOWN,
            }
            _judge(response, record, whole)
        return record

    def report(
        self, name: str, ms: float, *, error: str | None = None, **known: Any
    ) -> None:
        """Count something that is no call of ours, as a line of the table."""
        self.environment.events.request.fire(
            request_type="",
            name=name,
            response_time=ms,
            response_length=known.pop("size_bytes", 0),
            exception=None if error is None else RuntimeError(error),
            context=known,
        )

    def warm(self, action: str, arguments: object) -> None:
        """Invoke without being counted; what fails here fails again, counted."""
        with suppress(TargetError):
            Host(self.target).invoke(entity_name(action, self.options), arguments)

    def _refuse(self, due: float) -> None:
        late_ms = (time.perf_counter() - due) * 1000
        self.report("not sent", late_ms, error=OVERLOADED, late_ms=late_ms)


def _judge(
    response: ResponseContextManager, record: Record | None, whole: Whole
) -> None:
    status = response.status_code
    if status == 0:
        return  # no answer: Locust counts it with its own reason
    if status != HTTPStatus.OK:
        response.failure(failure_text(status, response.content or b""))
    elif record is None or not whole(record.result):
        response.failure(INCOMPLETE)
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
    """Of the contract's error, or of the record of an action that failed."""
    try:
        answer = json.loads(content)
        found = answer.get("error") or answer["response"]["result"]["error"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return content[:ERROR_TEXT_LENGTH].decode(errors="replace")
    return found if isinstance(found, str) else json.dumps(found)
