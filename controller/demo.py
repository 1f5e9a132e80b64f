"""The whole of it in a minute: three nodes, recorded weather, an answer computed.

    1  three agents and a broker, each a process of its own
    2  the example actions on all nodes; on node1 a trigger on the MQTT feed, whose
       rule publishes each result to a topic; a year of hourly readings replayed
    3  the bridge spreads the readings of a second topic over all three nodes
    4  pi by map-reduce over the three nodes

Everything that was started is stopped again, however it ends; with `keep` it stays.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol

from controller.demo_answers import Answers, of_activations, of_topic
from controller.demo_replay import OnSeen, read_readings, replay
from controller.demo_report import DemoReport, ReplayReport
from controller.demo_stage import Stage, bridging, deploy, listen
from controller.fleet.target import Target
from controller.local import LocalFleet
from controller.mapreduce.examples import example
from controller.mapreduce.progress import OnProgress, Report
from edge_agent.model.errors import EdgeWhiskError

NODES = 3
#: All that a replay makes must still be there to be counted: two records a reading.
RECORDS = 50_000
MARK = "demo"

HOURLY, DEW_POINT = "weather/hourly", "weather/dew-point"
DAILY = "weather/daily"


class DemoError(EdgeWhiskError):
    exit_code: ClassVar[int] = 1


class NotADemo(DemoError):
    exit_code: ClassVar[int] = 2

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"{directory} holds something that is no demo's: give another --dir"
        )


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`readings` limits each of the two replays; None: all there are."""

    directory: Path
    keep: bool = False
    points: int = 200_000_000
    readings: int | None = None


class Show(Protocol):
    """What a person sees of it."""

    def step(self, number: int, title: str) -> None: ...

    def say(self, text: str) -> None: ...

    def ok(self, text: str) -> None: ...

    def replaying(self, title: str) -> OnSeen:
        """What is told of the replay that begins now."""
        ...

    def computing(self, unit: str | None) -> OnProgress: ...

    def quiet(self) -> None:
        """The replay or the computation is over."""
        ...


def run_demo(options: DemoOptions, show: Show) -> DemoReport:
    """Run the demo.

    Raises:
        EdgeWhiskError: something did not work; everything is stopped again.
        KeyboardInterrupt: Ctrl-C or SIGTERM; everything is stopped again.
    """
    started = time.monotonic()
    fleet = LocalFleet(options.directory, say=show.say, records=RECORDS)
    claim(fleet)
    with _ending(fleet, keep=options.keep, show=show):
        show.step(1, "three nodes and a broker on this machine")
        stage = Stage.of(fleet.up(NODES).state, fleet.directory)
        show.ok(f"{stage.names} serve, {stage.broker_text}")
        replays = _events(stage, options, show)
        show.step(4, "pi by map-reduce over the three nodes")
        pi = _compute(stage.targets, options.points, show)
        show.ok(f"{pi.chunks} chunks in {pi.seconds:.1f} s, {pi.retries} retries")
    return DemoReport(
        directory=fleet.directory,
        replays=replays,
        pi=pi,
        seconds=time.monotonic() - started,
        kept=options.keep,
        broker_port=stage.port,
    )


def _events(
    stage: Stage, options: DemoOptions, show: Show
) -> tuple[ReplayReport, ReplayReport]:
    show.step(2, f"a year of hourly readings through {stage.targets[0].name}")
    deployed = asyncio.run(deploy(stage.targets))
    show.ok(f"actions {', '.join(deployed.names)} on {stage.names}")
    asyncio.run(listen(stage.targets[0], HOURLY, "dew_point", result_topic=DEW_POINT))
    show.ok(f"messages on {HOURLY} run dew_point, results go to {DEW_POINT}")
    one = _replay(
        stage,
        show,
        _readings("data/new-york-hourly-2013.csv", options.readings),
        topic=HOURLY,
        action="dew_point",
        nodes=stage.targets[:1],
        answers=of_topic(stage.host, stage.port, DEW_POINT),
    )
    show.step(3, "a year of daily readings spread by the bridge over all nodes")
    with bridging(stage, topic=DAILY, action=deployed.weather):
        show.ok(f"the bridge leads {DAILY} to {deployed.weather}, least loaded first")
        spread = _replay(
            stage,
            show,
            _readings("data/seattle-daily-2015.csv", options.readings),
            topic=DAILY,
            action=deployed.weather,
            nodes=stage.targets,
            answers=of_activations(stage.targets, deployed.weather),
        )
    return one, spread


def _replay(
    stage: Stage,
    show: Show,
    readings: list[dict[str, Any]],
    *,
    topic: str,
    action: str,
    nodes: Sequence[Target],
    answers: Answers,
) -> ReplayReport:
    since = time.time_ns() // 1_000_000
    on_seen = show.replaying(topic)
    try:
        measured = replay(
            readings,
            host=stage.host,
            port=stage.port,
            topic=topic,
            answers=answers,
            on_seen=on_seen,
        )
    finally:
        show.quiet()
    counts = asyncio.run(stage.count(nodes, action, since))
    report = ReplayReport(topic=topic, action=action, by_node=counts, measured=measured)
    show.ok(report.sentence)
    return report


def _compute(targets: Sequence[Target], points: int, show: Show) -> Report:
    from controller.mapreduce.job import load_job  # noqa: PLC0415
    from controller.mapreduce.run import run_loaded  # noqa: PLC0415

    settings = {"points": str(points)}
    job = load_job(example("jobs/pi.py"), settings=settings)
    on_progress = show.computing(job.items)
    try:
        return asyncio.run(
            run_loaded(job, targets, settings=settings, on_progress=on_progress)
        )
    finally:
        show.quiet()


def _readings(name: str, most: int | None) -> list[dict[str, Any]]:
    return list(islice(read_readings(example(name)), most))


def claim(fleet: LocalFleet) -> None:
    """Make the folder a fresh demo's; what an earlier demo left there goes.

    Raises:
        NotADemo: somebody else's files are in it.
    """
    directory = fleet.directory
    mark = directory / MARK
    if mark.exists():
        fleet.down(wipe=True)
    elif directory.exists() and any(directory.iterdir()):
        raise NotADemo(directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.touch()


@contextmanager
def _ending(fleet: LocalFleet, *, keep: bool, show: Show) -> Iterator[None]:
    """Stop everything at the end, unless it went well and is to be kept."""
    well = False
    with _interruptible_once() as shield:
        try:
            yield
            well = True
        finally:
            shield()
            if not (keep and well):
                show.say("stopping everything")
                fleet.down()


@contextmanager
def _interruptible_once() -> Iterator[Callable[[], None]]:
    """SIGTERM ends it as Ctrl-C does; a second one must not leave half of it running.

    Yields what makes it deaf to both.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)

    def shield() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    def interrupt(*_: object) -> None:
        shield()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield shield
    except KeyboardInterrupt:
        raise  # on the way to the exit it stays deaf
    except BaseException:
        _restore(before)
        raise
    _restore(before)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
