"""What a slow disk costs messages: their rate with 10 ms added to every fsync.

Each message is on disk before it is acknowledged, so without group commit it would be a
hundred a second at best. The two are measured by turns, each with a broker and an agent
of its own: messages of one must not wait in a session of the other.
"""

from __future__ import annotations

from pathlib import Path

from controller.bench.accepting import SLOW_FSYNC_MS, shim
from controller.bench.messages import broker, message_agent, warm_up
from controller.bench.messages_client import MessageClient
from controller.bench.row import Row, median_ratio, rounded
from controller.bench.server import Cores

MESSAGES = 6000
ROUNDS = 3
TIMEOUT_S = 120.0


def messages_durable(cores: Cores) -> list[Row]:
    with shim() as library:
        rates = [
            (_rate(library, cores, SLOW_FSYNC_MS), _rate(library, cores, 0))
            for _ in range(ROUNDS)
        ]
    return [
        Row(
            name="messages_durable",
            what=f"QoS 1 messages/s, {SLOW_FSYNC_MS} ms added to every fsync",
            value=median_ratio(rates),
            unit="of the rate without",
            sign=">=",
            aim=0.5,
            detail={
                "slow_per_s": rounded([rate for rate, _ in rates], 0),
                "plain_per_s": rounded([rate for _, rate in rates], 0),
            },
        )
    ]


def _rate(library: Path, cores: Cores, delay_ms: int) -> float:
    environment = {"LD_PRELOAD": str(library), "EW_FSYNC_DELAY_MS": str(delay_ms)}
    with (
        broker() as port,
        message_agent(cores, port, environment=environment),
        MessageClient(port) as client,
    ):
        warm_up(client)
        return MESSAGES / client.flood(MESSAGES, timeout_s=TIMEOUT_S)
