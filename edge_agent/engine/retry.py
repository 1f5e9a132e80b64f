"""What becomes of an event after a run: again, the end, or the dead letters.

Pure. A failing action is data, so most failures are simply the end: a run is repeated
only for what the policy names, by default our own faults (whisk errors). A failure that
the policy names and that it will not repeat any more is a dead letter.
"""

from __future__ import annotations

import msgspec

from edge_agent.model.activations import Status
from edge_agent.model.delivery import Attempt, Failure, Reason, RetryPolicy
from edge_agent.model.jobs import Finished

DEFAULT_POLICY = RetryPolicy()
#: An event that the agent has died of so often is not tried again.
DEATHS_MOST = 2
#: Beyond it a doubled wait is the greatest one anyway (2 ** 30 ms are 12 days).
_DOUBLINGS_MOST = 30

_FAILURES = {
    Status.APPLICATION_ERROR: Failure.APPLICATION_ERROR,
    Status.DEVELOPER_ERROR: Failure.DEVELOPER_ERROR,
    Status.WHISK_ERROR: Failure.WHISK_ERROR,
}


class Retry(msgspec.Struct, frozen=True):
    """Run it again, no sooner than `after_ms` from now."""

    after_ms: int


class Final(msgspec.Struct, frozen=True):
    """This was it, for better or worse: the record is all that remains."""


class Dead(msgspec.Struct, frozen=True):
    """It goes to the dead letters, with its record."""

    reason: Reason


Decision = Retry | Final | Dead
FINAL = Final()


def failure_of(finished: Finished) -> Failure | None:
    """None for a success."""
    if finished.timed_out:
        return Failure.TIMEOUT
    return _FAILURES.get(finished.response.code)


def decide(
    policy: RetryPolicy, *, attempt: int, failure: Failure | None, random: float
) -> Decision:
    """What follows run number `attempt` (the first is 1).

    Args:
        policy: of the rule, or the default.
        attempt: how many runs there have been, deaths of the agent not counted.
        failure: how this one failed, None when it did not.
        random: 0 <= random < 1, for the jitter.
    """
    if failure is None or failure not in policy.on:
        return FINAL
    if attempt > policy.max:
        return Dead(Reason.FAILED)
    return Retry(wait_ms(policy, attempt=attempt, random=random))


def wait_ms(policy: RetryPolicy, *, attempt: int, random: float) -> int:
    """How long to wait after run number `attempt`; see `RetryPolicy`."""
    doubled = policy.backoff_ms << min(attempt - 1, _DOUBLINGS_MOST)
    most = min(doubled, max(policy.backoff_ms, policy.max_backoff_ms))
    return round(most * (1 - policy.jitter * random))


def runs(attempts: tuple[Attempt, ...]) -> int:
    """How many of them were runs that ended, and not deaths of the agent."""
    return sum(not attempt.life for attempt in attempts)


def decide_before(
    policy: RetryPolicy,
    *,
    attempts: tuple[Attempt, ...],
    age_ms: int,
    ttl_ms: int | None,
) -> Reason | None:
    """Why an event must not be run (any more), None when it may."""
    if len(attempts) - runs(attempts) >= DEATHS_MOST:
        return Reason.POISON
    # More runs than allowed: it failed for good and found the dead letters full.
    if runs(attempts) > policy.max:
        return Reason.FAILED
    if ttl_ms is not None and age_ms > ttl_ms:
        return Reason.EXPIRED
    return None
