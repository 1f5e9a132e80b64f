"""The whole of it in a minute: three nodes, recorded weather, an answer computed.

    1  three agents and a broker, each a process of its own
    2  the example actions on all nodes; on node1 a trigger on the MQTT feed, whose
       rule publishes each result to a topic; a year of hourly readings replayed
    3  the bridge spreads the readings of a second topic over all three nodes
    4  pi by map-reduce over the three nodes

Everything that was started is stopped again, however it ends; with `keep` it stays.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar, Protocol

from controller.demo_answers import Answers, of_activations, of_topic
from controller.demo_interrupts import Interrupts, interruptible_once
from controller.demo_replay import OnSeen, Seen, read_readings, replay
from controller.demo_report import DemoReport, ReplayReport
from controller.demo_stage import Stage, bridging, deploy, listen
from controller.fleet.target import Target
from controller.local import LocalFleet
from controller.mapreduce.examples import example
from controller.mapreduce.job_file import load_job
from controller.mapreduce.progress import OnProgress, Report
from controller.mapreduce.run import run_loaded
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
    with ending(fleet, keep=options.keep, show=show) as interrupts:
        show.step(1, "three nodes and a broker on this machine")
        stage = Stage.of(fleet.up(NODES).state, fleet.directory)
        show.ok(f"{stage.names} serve, {stage.broker_text}")
        play = _Play(stage, options, show, interrupts)
        replays = play.events()
        pi = play.pi()
    return DemoReport(
        directory=fleet.directory,
        replays=replays,
        pi=pi,
        seconds=time.monotonic() - started,
        kept=options.keep,
        broker_port=stage.port,
    )


@dataclass(frozen=True, slots=True)
class _Play:
    """Steps 2 to 4."""

    stage: Stage
    options: DemoOptions
    show: Show
    interrupts: Interrupts

    def events(self) -> tuple[ReplayReport, ReplayReport]:
        stage, show, run = self.stage, self.show, self.interrupts.run
        first = stage.targets[0]
        show.step(2, f"a year of hourly readings through {first.name}")
        deployed = run(deploy(stage.targets))
        show.ok(f"actions {', '.join(deployed.names)} on {stage.names}")
        run(listen(first, HOURLY, "dew_point", result_topic=DEW_POINT))
        show.ok(f"messages on {HOURLY} run dew_point, results go to {DEW_POINT}")
        one = self._replay(
            "data/new-york-hourly-2013.csv",
            topic=HOURLY,
            action="dew_point",
            nodes=[first],
            answers=of_topic(stage.host, stage.port, DEW_POINT),
        )
        weather = deployed.weather
        show.step(3, "a year of daily readings spread by the bridge over all nodes")
        with bridging(stage, topic=DAILY, action=weather):
            show.ok(f"the bridge leads {DAILY} to {weather}, least loaded first")
            spread = self._replay(
                "data/seattle-daily-2015.csv",
                topic=DAILY,
                action=weather,
                nodes=stage.targets,
                answers=of_activations(stage.targets, weather),
            )
        return one, spread

    def pi(self) -> Report:
        self.show.step(4, "pi by map-reduce over the three nodes")
        settings = {"points": str(self.options.points)}
        job = load_job(example("jobs/pi.py"), settings=settings)
        on_progress = self.show.computing(job.items)
        try:
            report = self.interrupts.run(
                run_loaded(
                    job, self.stage.targets, settings=settings, on_progress=on_progress
                )
            )
        finally:
            self.show.quiet()
        chunks, seconds, retries = report.chunks, report.seconds, report.retries
        self.show.ok(f"{chunks} chunks in {seconds:.1f} s, {retries} retries")
        return report

    def _replay(
        self,
        file: str,
        *,
        topic: str,
        action: str,
        nodes: Sequence[Target],
        answers: Answers,
    ) -> ReplayReport:
        since = time.time_ns() // 1_000_000
        readings = list(islice(read_readings(example(file)), self.options.readings))
        with self.interrupts.polled(), self._seen(topic) as on_seen:
            measured = replay(
                readings,
                host=self.stage.host,
                port=self.stage.port,
                topic=topic,
                answers=answers,
                on_seen=on_seen,
            )
        counts = self.interrupts.run(self.stage.count(nodes, action, since))
        report = ReplayReport(topic, action, by_node=counts, measured=measured)
        self.show.ok(report.sentence)
        return report

    @contextmanager
    def _seen(self, topic: str) -> Iterator[OnSeen]:
        on_seen = self.show.replaying(topic)

        def checked(seen: Seen) -> None:
            self.interrupts.check()
            on_seen(seen)

        try:
            yield checked
        finally:
            self.show.quiet()


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
def ending(fleet: LocalFleet, *, keep: bool, show: Show) -> Iterator[Interrupts]:
    """Stop everything at the end, unless it went well and is to be kept."""
    well = False
    with interruptible_once() as interrupts:
        try:
            yield interrupts
            well = True
        finally:
            interrupts.shield()
            if not (keep and well):
                show.say(f"stopping everything; the logs are in {fleet.directory}")
                fleet.down()
