"""Pins without a Pi: a mock button lights a mock lamp, by trigger and rule alone.

    1  one agent, whose pins are gpiozero's mock ones
    2  a trigger on the button's pin; `gpio/write`, bound to the lamp's pin, as the
       action of its rule
    3  the button is pressed and let go; the lamp follows

No code runs in a sandbox: the rule's action is a built-in one.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from controller.demo import DemoError, DemoOptions, Show, claim, ending
from controller.fleet.client import Client
from controller.fleet.feeds import wire
from controller.fleet.process import POLL_S
from controller.fleet.target import Target
from controller.fleet.wire import PackageBody
from controller.local import LocalFleet
from edge_agent.model.entities import Binding, KeyValue

BUTTON, LAMP = 17, 27
PRESSES = 5
GPIO = "/whisk.system/gpio"
FOLLOW_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class GpioReport:
    """`switched_ms`: how long the lamp took to follow, each time."""

    directory: Path
    switched_ms: list[float]
    seconds: float
    kept: bool

    @property
    def sentence(self) -> str:
        p50 = statistics.median(self.switched_ms)
        count = len(self.switched_ms)
        return f"the lamp followed {count} times, after {p50:.1f} ms (p50)"

    def as_json(self) -> dict[str, Any]:
        return {
            "switched": len(self.switched_ms),
            "p50_ms": round(statistics.median(self.switched_ms), 2),
            "seconds": round(self.seconds, 1),
            "logs": str(self.directory),
            "kept": self.kept,
        }


def run_gpio_demo(options: DemoOptions, show: Show) -> GpioReport:
    """Run it.

    Raises:
        EdgeWhiskError: something did not work; everything is stopped again.
        KeyboardInterrupt: Ctrl-C or SIGTERM; everything is stopped again.
    """
    started = time.monotonic()
    fleet = LocalFleet(options.directory, say=show.say, mock_pins=True)
    claim(fleet)
    with ending(fleet, keep=options.keep, show=show) as interrupts:
        show.step(1, "a node with mock pins on this machine")
        node = fleet.up(1, broker=False).state.nodes[0]
        show.ok(f"{node.name} serves")
        target = Target(node.url, node.key, name=node.name)
        switched_ms = interrupts.run(_play(target, show))
    return GpioReport(
        directory=fleet.directory,
        switched_ms=switched_ms,
        seconds=time.monotonic() - started,
        kept=options.keep,
    )


async def _play(target: Target, show: Show) -> list[float]:
    async with Client(target) as client:
        show.step(2, "a button, a lamp, and a rule between them")
        await _connect(client)
        show.ok(f"a button on GPIO{BUTTON} fires the trigger button")
        show.ok(f"its rule runs lamp/write: gpio/write, bound to an LED on GPIO{LAMP}")
        show.step(3, "the button is pressed")
        switched_ms = []
        for number in range(1, PRESSES + 1):
            on = await _follow(client, pressed=True)
            off = await _follow(client, pressed=False)
            switched_ms += [on, off]
            show.ok(f"press {number}: the lamp is on after {on:.1f} ms, and off again")
    return switched_ms


async def _connect(client: Client) -> None:
    lamp = KeyValue(key="output", value={"device": "led", "pin": LAMP})
    binding = Binding(namespace="whisk.system", name="gpio")
    await client.put_package("lamp", PackageBody(binding=binding, parameters=[lamp]))
    await wire(
        client,
        "button",
        feed=f"{GPIO}/watch",
        parameters={"device": "button", "pin": BUTTON},
        action="lamp/write",
    )


async def _follow(client: Client, *, pressed: bool) -> float:
    """Press the button or let it go; the ms until the lamp shows it."""
    begun = time.monotonic()
    # A button connects its pin to ground.
    await _pin(client, {"pin": BUTTON, "level": int(not pressed)})
    while (await _pin(client, {"pin": LAMP})).get("level") != int(pressed):
        if time.monotonic() - begun > FOLLOW_TIMEOUT_S:
            raise DemoError(f"the lamp did not follow in {FOLLOW_TIMEOUT_S:g} s")
        await asyncio.sleep(POLL_S / 10)
    return (time.monotonic() - begun) * 1000


async def _pin(client: Client, payload: dict[str, Any]) -> dict[str, Any]:
    outcome = await client.invoke(f"{GPIO}/mock", msgspec.json.encode(payload))
    result: dict[str, Any] = msgspec.json.decode(outcome.result)
    if not outcome.success:
        raise DemoError(str(result.get("error")))
    return result
