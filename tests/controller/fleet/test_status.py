"""How nodes are, as they tell it and as their clocks show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.fleet.client import NO_RETRY, Client
from controller.fleet.status import Heard, fleet_status, skew_of, status_of
from controller.fleet.target import Target
from tests.conftest import Agent
from tests.controller.fleet.conftest import Host

MS = st.floats(min_value=0, max_value=1e5)


@given(skew=st.floats(min_value=-1e6, max_value=1e6), there=MS, back=MS)
def test_the_true_skew_is_within_what_is_told(
    skew: float, there: float, back: float
) -> None:
    sent = 1_700_000_000_000.0
    report = {"now_ms": sent + there + skew}

    told, error = skew_of(Heard(report, sent, there + back))

    assert told is not None
    assert error is not None
    assert abs(told - skew) <= error + 0.2  # rounded to a tenth


def test_a_report_of_an_older_agent_tells_less() -> None:
    status = status_of(Heard({"version": "0.1"}, 0, 1), name="a", url="u", differs=None)

    assert (status.version, status.skew_ms, status.warm) == ("0.1", None, None)


async def test_a_node_that_is_down_is_a_row_and_a_silent_one_costs_its_time(
    agent: Agent, host: Host
) -> None:
    host.sleeps(60)
    targets = [
        Target(agent.url, agent.key, name="here", system_key=agent.system_key),
        Target("http://127.0.0.1:9", agent.key, name="away"),
        Target(host.url, agent.key, name="silent"),
        Target(agent.url, agent.key, name="reticent"),
    ]
    clients = [Client(target, retry=NO_RETRY, timeout_s=1) for target in targets]
    for client in clients:
        await client.__aenter__()
    try:
        here, away, silent, reticent = await fleet_status(clients)
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)

    assert (here.up, here.problem, here.inbox) == (True, None, 0)
    assert here.isolation in {"rlimits", "namespaces", "full"}
    assert here.skew_ms is not None
    assert here.skew_error_ms is not None
    assert abs(here.skew_ms) <= here.skew_error_ms + 2  # the node tells whole ms
    assert not away.up
    assert "cannot connect" in str(away.problem)
    assert not silent.up
    assert "no answer" in str(silent.problem)
    assert reticent.up
    assert "system key" in str(reticent.problem)
