"""One run's stay on the host.

Its entities are put before the users start and deleted when the last has stopped,
however the run ends.

Without a web page a run that cannot start ends at once: one line, exit code 2. On the
web page the target may still be mended, so there it is a line in the log.
"""

from __future__ import annotations

import logging
import secrets
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, cast

import _options  # registers the options with Locust
import gevent
from _entities import Entity, entity_name
from _openwhisk import Host
from _samples import Samples
from _slots import Slots
from _target import Place, Target, TargetError, find_target
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

__all__ = ["Session", "_options"]

EXIT_BAD_INPUT = 2
_log = logging.getLogger(__name__)


@events.init.add_listener
def open_session(environment: Environment, **_: Any) -> None:
    options = cast("Namespace", environment.parsed_options)
    samples = Samples(environment, warm_up_s=options.warm_up)
    if isinstance(environment.runner, WorkerRunner):
        return  # the master has deployed, and sends its options along
    session = Session(environment, samples)
    environment.events.test_start.add_listener(session.on_start)
    environment.events.test_stop.add_listener(session.on_stop)
    environment.events.quitting.add_listener(session.on_quitting)
    environment.events.quit.add_listener(session.on_quit)
    if environment.web_ui is None:
        session.open_or_exit()
    else:
        session.show_host()


class Session:
    """The entities that this run has put on the host, and their removal."""

    def __init__(self, environment: Environment, samples: Samples) -> None:
        self._environment = environment
        self._samples = samples
        self._host: Host | None = None
        self._entities: list[Entity] = []
        self._slots: Slots | None = None

    def on_start(self, **_: Any) -> None:
        if self._options().warm_up:
            gevent.spawn_later(self._options().warm_up, self._forget)
        if self._host is not None:
            return
        try:
            self._open()
        except TargetError as error:
            _log.error("cannot start: %s", error)
            if self._environment.runner is not None:
                self._environment.runner.stop()

    def on_stop(self, **_: Any) -> None:
        """Of a master that quits, workers still call: then it is `on_quit`'s."""
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner) or not runner.user_count:
            self._close()

    def on_quit(self, **_: Any) -> None:
        """The last workers have stopped and have sent what they counted."""
        self._close()
        if self._options().samples:
            self._samples.write(Path(self._options().samples))

    def _close(self) -> None:
        self._restore()
        host, self._host = self._host, None
        while host is not None and self._entities:
            entity = self._entities.pop()
            try:
                entity.delete(host, self._options())
            except TargetError as error:
                _log.warning("%s is left behind: %s", entity.name, error)
        if host is not None:
            self._sweep(host)

    def _sweep(self, host: Host) -> None:
        """Of users that put actions of their own, some are stopped in mid-call."""
        try:
            host.delete_actions(entity_name("", self._options()))
        except TargetError as error:
            _log.warning("actions of this run may be left behind: %s", error)

    def _restore(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            try:
                slots.restore()
            except TargetError as error:
                _log.warning("the node keeps its number of slots: %s", error)

    def on_quitting(self, **_: Any) -> None:
        """A run without a call must not look like a success."""
        environment = self._environment
        if environment.web_ui is None and not environment.stats.total.num_requests:
            _log.error("nothing was measured")
            environment.process_exit_code = EXIT_BAD_INPUT

    def open_or_exit(self) -> None:
        try:
            self._open()
        except TargetError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(EXIT_BAD_INPUT)

    def show_host(self) -> None:
        """Let the web page offer the host that would be taken."""
        try:
            self._environment.host = self._target().url
        except TargetError as error:
            _log.warning("%s", error)

    def _forget(self) -> None:
        self._environment.stats.clear_all()

    def _target(self) -> Target:
        options = self._options()
        host = self._environment.host or options.host or ""
        given = Place(host, options.auth, options.system_auth)
        return find_target(given, insecure=options.insecure, ca_file=options.ca_file)

    def _options(self) -> Namespace:
        return cast("Namespace", self._environment.parsed_options)

    def _open(self) -> None:
        target = self._target()
        self._host = Host(target)
        try:
            if self._options().slots:
                self._slots = self._set_slots(self._host)
            self._deploy(self._host)
        except BaseException:
            self._close()
            raise
        self._environment.host = target.url
        options = self._options()
        options.auth, options.system_auth = target.auth, target.system_auth or ""

    def _deploy(self, host: Host) -> None:
        options = self._options()
        options.family = host.family(options.language)
        options.run_id = secrets.token_hex(4)
        for entity in self._wanted():
            self._entities.append(entity)
            entity.put(host, options)
        count, family = len(self._entities), options.family
        _log.info("%s: deployed %d %s actions", host.target.url, count, family)

    def _set_slots(self, host: Host) -> Slots:
        classes = [user.__name__ for user in self._environment.user_classes]
        if len(classes) > 1:
            names = ", ".join(classes)
            raise TargetError(f"--slots is for one scenario alone, not for {names}")
        return Slots(host, self._options().slots)

    def _wanted(self) -> list[Entity]:
        """What the chosen scenarios need, each once, in a steady order.

        Raises:
            TargetError: a scenario misses an option, or has a wrong one.
        """
        options = self._options()
        entities: list[Entity] = []
        for user in self._environment.user_classes:
            entities += getattr(user, "entities", lambda _: ())(options)
        return list({entity.name: entity for entity in entities}.values())
