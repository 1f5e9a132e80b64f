"""One run's stay on the host.

Its actions are put before the users start and deleted when the last has stopped,
however the run ends.

Without a web page a run that cannot start ends at once: one line, exit code 2. On the
web page the target may still be mended, so there it is a line in the log.
"""

from __future__ import annotations

import logging
import secrets
import sys
from argparse import Namespace
from typing import Any, cast

from _actions import Source
from _openwhisk import Host
from _target import Place, Target, TargetError, find_target
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

EXIT_BAD_INPUT = 2
_log = logging.getLogger(__name__)


def action_name(source: Source, options: Namespace) -> str:
    """The deployed name; `options` reach the workers of a distributed run as well."""
    return f"loadtest-{options.run_id}-{source.name}"


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser, **_: Any) -> None:
    group = parser.add_argument_group(
        "OpenWhisk options",
        "Host and keys are found like those of edgectl: OPENWHISK_APIHOST and "
        "OPENWHISK_AUTH, then ~/.wskprops, then the local fleet that is up.",
    )
    group.add_argument("--auth", default="", help="key of the namespace, UUID:KEY")
    group.add_argument("--system-auth", default="", help="key of whisk.system")
    group.add_argument(
        "--insecure", action="store_true", help="accept any TLS certificate"
    )
    parser.set_defaults(run_id="")


@events.init.add_listener
def open_session(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        return  # the master has deployed, and sends its options along
    session = Session(environment)
    environment.events.test_start.add_listener(session.on_start)
    environment.events.test_stop.add_listener(session.on_stop)
    if environment.web_ui is None:
        session.open_or_exit()
    else:
        session.show_host()


@events.quitting.add_listener
def refuse_emptiness(environment: Environment, **_: Any) -> None:
    """A run that measured nothing must not look like a success."""
    headless = environment.web_ui is None
    worker = isinstance(environment.runner, WorkerRunner)
    if headless and not worker and not environment.stats.total.num_requests:
        _log.error("nothing was measured")
        environment.process_exit_code = EXIT_BAD_INPUT


class Session:
    """The actions that this run has put on the host, and their removal."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._host: Host | None = None
        self._names: list[str] = []

    def on_start(self, **_: Any) -> None:
        if self._host is not None:
            return
        try:
            self._open()
        except TargetError as error:
            _log.error("cannot start: %s", error)
            if self._environment.runner is not None:
                self._environment.runner.stop()

    def on_stop(self, **_: Any) -> None:
        host, self._host = self._host, None
        while host is not None and self._names:
            name = self._names.pop()
            try:
                host.delete(name)
            except TargetError as error:
                _log.warning("action %s is left behind: %s", name, error)

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

    def _target(self) -> Target:
        options = self._options()
        host = self._environment.host or options.host or ""
        given = Place(host, options.auth, options.system_auth)
        return find_target(given, insecure=options.insecure)

    def _options(self) -> Namespace:
        return cast("Namespace", self._environment.parsed_options)

    def _open(self) -> None:
        target = self._target()
        self._host = Host(target)
        try:
            self._deploy(self._host)
        except BaseException:
            self.on_stop()
            raise
        self._environment.host = target.url
        options = self._options()
        options.auth, options.system_auth = target.auth, target.system_auth or ""

    def _deploy(self, host: Host) -> None:
        family = host.family()
        options = self._options()
        options.run_id = secrets.token_hex(4)
        for source in self._sources():
            name = action_name(source, options)
            self._names.append(name)
            host.put(name, source, family=family)
        url, kind = host.target.url, family
        _log.info("%s: deployed %d %s actions", url, len(self._names), kind)

    def _sources(self) -> list[Source]:
        """What the chosen scenarios need, each once, in a steady order."""
        classes = self._environment.user_classes
        sources = (
            source for user in classes for source in getattr(user, "sources", ())
        )
        return list(dict.fromkeys(sources))
