"""Sequences and compositions as they run: the shell around their pure decisions.

One object for each that is under way, and no task: what a component's end leads to is
done in the callback of its future. None of them holds a slot of the pool while it waits
for a component, so they cannot keep each other from running.

- To the outside a composition is one job with one `Finished`, in the inbox one row; it
  restarts from its first step (design.md, promise 1). Its components are no rows; each
  has a record of its own, written when it ends.
- A component that finds the queue full asks again, for as long as its own time limit
  and a minute; the first one is refused like any other job, for then nothing has begun.
- When the agent stops, the future is cancelled: whoever promised the job keeps it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msgspec.structs import replace

from edge_agent.engine import conductors, sequences
from edge_agent.engine.catalog_sequences import TOO_MANY
from edge_agent.engine.conductors import Budget
from edge_agent.engine.resolve import Resolver, Runnable, lay_over
from edge_agent.engine.steps import Count, End, Owner, Scope, Steps
from edge_agent.model.activations import Response, Status, failure
from edge_agent.model.errors import Forbidden, RequestError
from edge_agent.model.jobs import Finished, Form, Job
from edge_agent.model.names import FullName, new_activation_id

#: How often a component that found no room asks again (B48).
ROOM_S = 0.05

Submit = Callable[[Job], asyncio.Future[Finished]]


class Compositions:
    """Runs jobs whose form is SEQUENCE or CONDUCTOR.

    `submit` runs a job of another form, `end` writes the record of a component.
    """

    def __init__(
        self,
        *,
        submit: Submit,
        resolve: Resolver,
        end: End,
        limit: Callable[[], int],
        wall_ms: Callable[[], int],
    ) -> None:
        self.resolve = resolve
        self.end = end
        self.wall_ms = wall_ms
        self._submit = submit
        self._limit = limit
        self._waiting: dict[Steps, asyncio.TimerHandle] = {}
        self._stopped = False

    @property
    def limit(self) -> int:
        """How many actions a sequence or composition may come to."""
        return self._limit()

    def submit(self, job: Job) -> asyncio.Future[Finished]:
        """Start it.

        Raises:
            Unavailable: there is no room for its first component.
        """
        steps = self._steps(job, Scope(Count()))
        steps.begin()
        return steps.future

    def run(self, job: Job) -> asyncio.Future[Finished]:
        """Run a component that has no steps."""
        return self._submit(job)

    def nest(self, job: Job, scope: Scope) -> asyncio.Future[Finished]:
        """Start a component that has steps."""
        steps = self._steps(job, scope)
        # Not at once: sequences may be nested deeper than calls may.
        asyncio.get_running_loop().call_soon(steps.guarded, steps.begin)
        return steps.future

    def wait_for_room(self, steps: Steps, again: Callable[[], None]) -> None:
        if self._stopped:
            steps.cancel()
            return
        loop = asyncio.get_running_loop()
        self._waiting[steps] = loop.call_later(ROOM_S, self._again, steps, again)

    def stop(self) -> None:
        """Those that wait for room do not wait for ever."""
        self._stopped = True
        for steps, timer in self._waiting.items():
            timer.cancel()
            steps.cancel()
        self._waiting.clear()

    def _again(self, steps: Steps, again: Callable[[], None]) -> None:
        del self._waiting[steps]
        steps.guarded(again)

    def _steps(self, job: Job, scope: Scope) -> Steps:
        if job.form is Form.SEQUENCE:
            return _Sequence(self, job, scope)
        return _Composition(self, job, scope)


class _Sequence(Steps):
    _failed = "Sequence failed."

    def begin(self) -> None:
        """Look up the components, all of them now (A91), and run the first."""
        if self._scope.depth > self._owner.limit:
            self._finish(failure(Status.APPLICATION_ERROR, TOO_MANY))
            return
        self._components = [self._find(name) for name in self._job.components]
        self._done = 0
        self._step(None)

    def _find(self, name: FullName) -> Runnable | None:
        try:
            return self._owner.resolve(self._job.identity, name)
        except RequestError:
            return None

    def _ended(self, response: Response) -> None:
        self._done += 1
        self._step(response)

    def _step(self, last: Response | None) -> None:
        step = sequences.next_step(
            self._components,
            done=self._done,
            last=last,
            actions=self._scope.count.actions,
            limit=self._owner.limit,
        )
        match step:
            case sequences.Invoke(component=component):
                if component.form is not Form.SEQUENCE:
                    self._scope.count.actions += 1
                given = self._job.arguments if last is None else bytes(last.result)
                self._invoke(component, given)
            case sequences.Finish(response=response):
                self._finish(response)

    def _inside(self, job: Job) -> Scope:
        scope = self._scope
        if job.form is Form.CONDUCTOR:
            return Scope(Count(), budget=scope.budget)
        return Scope(scope.count, scope.depth + 1, scope.budget)


class _Composition(Steps):
    _failed = conductors.FAILED

    def __init__(self, owner: Owner, job: Job, scope: Scope) -> None:
        super().__init__(owner, job, scope)
        self._budget = scope.budget or Budget()
        self._state: bytes | None = None
        self._conducting = False

    def begin(self) -> None:
        self._conduct(self._job.arguments)

    def _conduct(self, payload: bytes) -> None:
        """Run the conductor itself."""
        if not conductors.may_conduct(self._budget, limit=self._owner.limit):
            self._finish(conductors.too_many())
            return
        self._budget.conductors += 1
        self._conducting = True
        job = self._job
        self._start(
            replace(
                job,
                activation_id=new_activation_id(),
                arguments=lay_over(job.defaults, payload),
                accepted_ns=time.monotonic_ns(),
                accepted_ms=self._owner.wall_ms(),
                cause=job.activation_id,
                form=Form.SINGLE,
            )
        )

    def _ended(self, response: Response) -> None:
        if not self._conducting:
            told = conductors.next_payload(bytes(response.result), self._state)
            self._conduct(told)
            return
        self._conducting = False
        step = conductors.read_result(
            response,
            own=self._job.identity.namespace,
            budget=self._budget,
            limit=self._owner.limit,
        )
        match step:
            case conductors.Invoke():
                self._try(step)
            case conductors.Tell(error=error, state=state):
                self._tell(error, state)
            case conductors.Finish(response=response):
                self._finish(response)

    def _try(self, step: conductors.Invoke) -> None:
        """Run a component, if there is one of that name that may be run."""
        try:
            component = self._owner.resolve(self._job.identity, step.action)
        except Forbidden:
            self._tell(conductors.not_allowed(step.action), step.state)
        except RequestError:
            self._tell(conductors.not_found(step.action), step.state)
        else:
            self._state = step.state
            self._budget.components += 1
            self._invoke(component, step.payload)

    def _tell(self, error: str, state: bytes | None) -> None:
        told = conductors.error_payload(error)
        self._conduct(conductors.next_payload(told, state))

    def _inside(self, job: Job) -> Scope:  # noqa: ARG002 the same for all forms
        return Scope(Count(), budget=self._budget)
