"""What follows a run: the policy's words, the waits, and when it is enough."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.engine.retry import (
    DEFAULT_POLICY,
    FINAL,
    Dead,
    Retry,
    decide,
    decide_before,
    failure_of,
    wait_ms,
)
from edge_agent.model.activations import StartKind, Status, failure, success
from edge_agent.model.delivery import DIED, Attempt, Failure, Reason, RetryPolicy
from edge_agent.model.jobs import Finished

policies = st.builds(
    RetryPolicy,
    max=st.integers(0, 100),
    backoff_ms=st.integers(0, 86_400_000),
    max_backoff_ms=st.integers(0, 86_400_000),
    jitter=st.floats(0, 1),
    on=st.lists(st.sampled_from(Failure), unique=True).map(tuple),
)
dice = st.floats(0, 1, exclude_max=True)
failures = st.none() | st.sampled_from(Failure)


def finished(response: object, *, timed_out: bool = False) -> Finished:
    return Finished(
        response=response,  # type: ignore[arg-type]
        start_ms=1,
        wait_ms=0,
        run_ms=2,
        start=StartKind.WARM,
        timed_out=timed_out,
    )


def ran(number: int) -> tuple[Attempt, ...]:
    return tuple(Attempt(start_ms=n, status="x") for n in range(number))


def died(number: int) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(start_ms=n, status=DIED, life=f"{n}") for n in range(1, number + 1)
    )


def test_only_our_own_faults_are_repeated_by_default() -> None:
    for each in Failure:
        decision = decide(DEFAULT_POLICY, attempt=1, failure=each, random=0)
        assert isinstance(decision, Retry) == (each is Failure.WHISK_ERROR)


def test_a_timeout_is_a_failure_of_its_own() -> None:
    response = failure(Status.DEVELOPER_ERROR, "late")
    assert failure_of(finished(response)) is Failure.DEVELOPER_ERROR
    assert failure_of(finished(response, timed_out=True)) is Failure.TIMEOUT
    assert failure_of(finished(success(b"{}"))) is None


@given(policies, st.integers(1, 200), failures, dice)
def test_what_the_policy_does_not_name_is_the_end(
    policy: RetryPolicy, attempt: int, failed: Failure | None, random: float
) -> None:
    decision = decide(policy, attempt=attempt, failure=failed, random=random)
    assert (decision == FINAL) == (failed not in policy.on)


@given(policies, dice)
def test_there_are_as_many_repetitions_as_the_policy_says(
    policy: RetryPolicy, random: float
) -> None:
    if not policy.on:
        return
    attempt = 1
    while isinstance(
        decide(policy, attempt=attempt, failure=policy.on[0], random=random), Retry
    ):
        attempt += 1
    assert attempt == policy.max + 1
    last = decide(policy, attempt=attempt, failure=policy.on[0], random=random)
    assert last == Dead(Reason.FAILED)


@given(policies, st.integers(1, 200), dice)
def test_a_wait_stays_within_its_bounds(
    policy: RetryPolicy, attempt: int, random: float
) -> None:
    most = max(policy.backoff_ms, policy.max_backoff_ms)
    waited = wait_ms(policy, attempt=attempt, random=random)
    assert 0 <= waited <= most
    assert waited >= round(policy.backoff_ms * (1 - policy.jitter)) - 1


@given(policies, st.integers(1, 100))
def test_without_jitter_a_wait_is_never_shorter_than_the_last(
    policy: RetryPolicy, attempt: int
) -> None:
    waits = [wait_ms(policy, attempt=n, random=0) for n in (attempt, attempt + 1)]
    assert waits == sorted(waits)


def test_waits_double_up_to_the_greatest() -> None:
    policy = RetryPolicy(backoff_ms=100, max_backoff_ms=500, jitter=0)
    waits = [wait_ms(policy, attempt=n, random=0) for n in range(1, 6)]
    assert waits == [100, 200, 400, 500, 500]


def test_an_event_that_the_agent_died_of_twice_is_not_run_again() -> None:
    def before(attempts: tuple[Attempt, ...]) -> Reason | None:
        return decide_before(DEFAULT_POLICY, attempts=attempts, age_ms=0, ttl_ms=None)

    assert before(died(1)) is None
    assert before(died(2)) is Reason.POISON
    assert before((*died(1), *ran(2))) is None


def test_deaths_of_the_agent_do_not_use_up_the_retries() -> None:
    policy = RetryPolicy(max=1)
    attempts = (*died(1), *ran(1))
    assert decide_before(policy, attempts=attempts, age_ms=0, ttl_ms=None) is None
    attempts = (*died(1), *ran(2))
    assert (
        decide_before(policy, attempts=attempts, age_ms=0, ttl_ms=None) is Reason.FAILED
    )


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_an_event_older_than_its_time_to_live_has_expired(age: int, ttl: int) -> None:
    found = decide_before(DEFAULT_POLICY, attempts=(), age_ms=age, ttl_ms=ttl)
    assert (found is Reason.EXPIRED) == (age > ttl)
