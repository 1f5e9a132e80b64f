"""What a warm call costs: against a bare echo, by sleeping time and by size."""

from __future__ import annotations

from controller.bench.actions import (
    ECHO,
    HELLO,
    HELLO_BODY,
    SLEEP,
    SLEEP_BODY,
    SLEEP_MS,
    data_body,
)
from controller.bench.load import Measured, Request, drive
from controller.bench.processes import cpu_s
from controller.bench.row import Row, median_ratio, rounded
from controller.bench.server import Agent, Cores, agent, echo, on_cores

BLOCKING = "blocking=true"
ROUNDS, ROUND_S = 9, 0.6
SLEEP_S = 3.0
SLOT_MB = 256
CONNECTIONS = 16
KILOBYTE = 1024
SIZE_ROUNDS = 5


def warm(cores: Cores) -> list[Row]:
    """Short rounds by turns, so that what disturbs the machine disturbs both."""
    with echo(cores=cores.served) as url, agent(cores=cores.served) as node:
        node.put("hello", HELLO)
        theirs = Request(url, HELLO_BODY)
        ours = node.invoke("hello", HELLO_BODY, query=BLOCKING)
        return [_throughput(node, theirs, ours), _latency(theirs, ours)]


def _throughput(node: Agent, theirs: Request, ours: Request) -> Row:
    cpu, asked = 0.0, 0
    rounds = []
    for number in range(ROUNDS + 1):
        bare = drive(theirs, connections=CONNECTIONS, seconds=ROUND_S)
        before = cpu_s(node.pid)
        called = drive(ours, connections=CONNECTIONS, seconds=ROUND_S)
        if number:  # the first makes the sandboxes
            rounds.append((called, bare))
            cpu += cpu_s(node.pid) - before
            asked += len(called.latencies_ns)
    rates = [(called.rate_per_s, bare.rate_per_s) for called, bare in rounds]
    return Row(
        name="warm_throughput",
        what=f"warm blocking invoke, {CONNECTIONS} connections, one core: req/s",
        value=median_ratio(rates),
        unit="of a bare echo",
        sign=">=",
        aim=0.4,
        detail={
            "invoke_per_s": rounded([rate for rate, _ in rates], 0),
            "echo_per_s": rounded([rate for _, rate in rates], 0),
            "cpu_us_per_invoke": round(cpu / asked * 1e6, 1),
            "generator_busy": _busiest(rounds),
        },
    )


def _latency(theirs: Request, ours: Request) -> Row:
    rounds = by_turns(ours, theirs, rounds=ROUNDS)
    medians = [(called.p50_ms, bare.p50_ms) for called, bare in rounds]
    return Row(
        name="warm_latency",
        what="the same at one connection: p50",
        value=median_ratio(medians),
        unit="x the echo's",
        sign="<=",
        aim=3.0,
        detail={
            "invoke_ms": rounded([ms for ms, _ in medians]),
            "echo_ms": rounded([ms for _, ms in medians]),
            "generator_busy": _busiest(rounds),
        },
    )


def payload(cores: Cores) -> list[Row]:
    """On both cores, as a node runs: writing the record is off the caller's way."""
    with on_cores(cores.all), agent(cores=cores.all) as node:
        node.put("echo", ECHO)
        small, large = (
            node.invoke("echo", data_body(size), query=f"{BLOCKING}&result=true")
            for size in (KILOBYTE, 1000 * KILOBYTE)
        )
        rounds = by_turns(large, small, rounds=SIZE_ROUNDS)
    medians = [(big.p50_ms, little.p50_ms) for big, little in rounds]
    return [
        Row(
            name="payload",
            what="1 MB payload in and out, warm: p50",
            value=median_ratio(medians),
            unit="x that of 1 KB",
            sign="<=",
            aim=12.0,
            detail={
                "large_ms": rounded([ms for ms, _ in medians]),
                "small_ms": rounded([ms for _, ms in medians]),
            },
        )
    ]


def slots(cores: Cores) -> list[Row]:
    return [_sleeping(cores, count) for count in (1, 2, 4)]


def _sleeping(cores: Cores, count: int) -> Row:
    settings = f"[pool]\nmemory_mb = {count * SLOT_MB}\n"
    with agent(cores=cores.served, settings=settings) as node:
        node.put("sleep", SLEEP, memory_mb=SLOT_MB)
        request = node.invoke("sleep", SLEEP_BODY, query=BLOCKING)
        drive(request, connections=count, count=count)
        slept = drive(request, connections=2 * count, seconds=SLEEP_S)
    best = count * 1000 / SLEEP_MS
    return Row(
        name=f"slots_{count}",
        what=f"{SLEEP_MS} ms sleeping action, {count} slots: req/s",
        value=slept.rate_per_s,
        unit="/s",
        sign=">=",
        aim=0.9 * count * 33,
        detail={"of_the_possible": round(slept.rate_per_s / best, 3)},
    )


def by_turns(
    first: Request, second: Request, *, rounds: int
) -> list[tuple[Measured, Measured]]:
    """At one connection; the round that warms up is left out."""
    taken = [
        (
            drive(first, connections=1, seconds=ROUND_S),
            drive(second, connections=1, seconds=ROUND_S),
        )
        for _ in range(rounds + 1)
    ]
    return taken[1:]


def _busiest(rounds: list[tuple[Measured, Measured]]) -> float:
    return round(max(each.busy for pair in rounds for each in pair), 2)
