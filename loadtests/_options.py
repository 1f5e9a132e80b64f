"""The options that these load tests add to Locust's own.

They reach the workers of a distributed run as well. A scenario reads those that are
meant for it; each has a default that fits a Raspberry Pi.
"""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from typing import Any

from _actions import FAMILIES
from _payloads import parse_sizes
from locust import events
from locust.argument_parser import LocustArgumentParser

#: What a bare `locust -f loadtests` runs, by module; the others are for those who
#: name them.
BY_DEFAULT = {
    "concurrency": "ConcurrencyUser",
    "payload": "PayloadUser",
    "latency": "LatencyUser",
}
ARRIVALS = ("constant", "poisson")


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser, **_: Any) -> None:
    _add_target(parser)
    _add_method(parser)
    _add_scenarios(parser)
    parser.set_defaults(run_id="", family="")
    if BY_DEFAULT.keys() <= sys.modules.keys():
        parser.set_defaults(user_classes=list(BY_DEFAULT.values()))


def _add_target(parser: LocustArgumentParser) -> None:
    group = parser.add_argument_group(
        "OpenWhisk options",
        "Host and keys are found like those of edgectl: OPENWHISK_APIHOST and "
        "OPENWHISK_AUTH, then ~/.wskprops, then the local fleet that is up.",
    )
    add = group.add_argument
    add("--auth", default="", help="key of the namespace, UUID:KEY")
    add("--system-auth", default="", help="key of whisk.system")
    add("--insecure", action="store_true", help="accept any TLS certificate")
    add("--ca-file", default="", help="trust the authorities of this PEM file")
    add("--language", choices=FAMILIES, help="of the actions; default: what there is")


def _add_method(parser: LocustArgumentParser) -> None:
    group = parser.add_argument_group("Options of the measurement")
    add = group.add_argument
    add(
        "--rate",
        type=positive,
        help="open loop: so many calls per second from each user, whether or not the "
        "last was answered; times count from when a call was due (default: closed "
        "loop: a user calls again when it has been answered)",
    )
    add("--arrivals", choices=ARRIVALS, default="constant", help="of the open loop")
    add("--slots", type=int, help="calls that the node runs at once, of one scenario")
    add("--memory", type=int, default=0, help="of the actions, in MB (burst)")
    add("--warm-up", type=positive, default=0.0, help="seconds that do not count")
    add("--samples", default="", help="write every call as a line to this CSV file")


def _add_scenarios(parser: LocustArgumentParser) -> None:
    group = parser.add_argument_group("Options of scenarios")
    add = group.add_argument
    sizes = {"type": sizes_of, "metavar": "BYTES,..."}
    add("--payload-bytes", **sizes, help="payload: sizes (default 1024,102400,1024000)")
    add("--transfer-bytes", **sizes, help="transfer: sizes (default: 20, 0 to 1 MB)")
    add("--transfer", default="hop", help="transfer: hop, image or split, or several")
    add("--package-bytes", **sizes, help="coldstart: padding of the action's package")
    add("--work", default="matmul", help="burst: matmul, trees, download, files")
    add("--tasks", default="1000", help="burst: how many at once, or several numbers")
    add("--download-bytes", type=int, default=1024 * 1024, help="burst: the object")
    add("--serve-host", default="", help="burst: the address nodes download from")
    add("--broker", default="", help="mqtt: HOST:PORT (default: of the local fleet)")
    add("--qos", type=int, choices=(0, 1, 2), default=1, help="mqtt: of the messages")
    add("--day", type=positive, default=600.0, help="mixed: seconds for a day's calls")


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def sizes_of(text: str) -> tuple[int, ...]:
    try:
        return parse_sizes(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
