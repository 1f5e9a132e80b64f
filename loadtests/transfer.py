"""Experiment C: what it costs to hand data from one action to the next.

A sequence of two steps: the first leaves with n bytes and notes the time, the second
notes the time it arrived; the hop is the difference, by the clock of one machine. One
client, the sizes in turn, each with a line for the hop and one for the whole call.

    locust -f loadtests TransferUser --headless -t 60s --language nodejs

`--transfer image` hands on a painted PNG, `--transfer split` compares 1 MB in one call
with the same in pieces of 10 to 100 KB, one after the other.
"""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any

from _entities import Action, Entity
from _entities import Sequence as ActionSequence
from _payloads import KILOBYTE, MEGABYTE, size_text
from _target import TargetError
from _transfer_actions import ARRIVE, DEPART, LOOK, PAINT
from _user import ActionUser

#: Those of ServerlessBench's test case 5 as a Raspberry Pi was measured with them.
SIZES = (
    *(0, 1024, 5120, 10_240, 15_360, 20_480, 25_600, 30_720, 35_840, 40_960),
    *(46_080, 51_200, 100_000, 128_000, 208_000, 256_000, 400_000, 512_000),
    *(650_000, 1_000_000),
)
PIECES = (10 * KILOBYTE, 50 * KILOBYTE, 100 * KILOBYTE)
IMAGES = ((64, 48), (160, 120), (320, 240), (480, 360))
HOP, VIEW = "hop", "view"
Step = Callable[[], None]


class TransferUser(ActionUser):
    fixed_count = 1

    @classmethod
    def entities(cls, options: Namespace) -> Sequence[Entity]:
        entities: list[Entity] = []
        if {"hop", "split"} & set(_variants(options)):
            entities += [Action(DEPART), Action(ARRIVE)]
            entities += [ActionSequence(HOP, (DEPART.name, ARRIVE.name))]
        if "image" in _variants(options):
            entities += [Action(PAINT), Action(LOOK)]
            entities += [ActionSequence(VIEW, (PAINT.name, LOOK.name))]
        return entities

    def on_start(self) -> None:
        variants = _variants(self.options)
        if {"hop", "split"} & set(variants):
            self.warm(HOP, {"bytes": 0})
        if "image" in variants:
            self.warm(VIEW, {"width": 8, "height": 8})
        self._steps = cycle([step for each in variants for step in self._of(each)])

    def one(self, due: float | None) -> None:
        del due  # hops are timed on the node
        next(self._steps)()

    def _of(self, variant: str) -> Iterator[Step]:
        if variant == "hop":
            for size in self.options.transfer_bytes or SIZES:
                yield partial(self._hop, size)
        elif variant == "image":
            for width, height in IMAGES:
                yield partial(self._image, width, height)
        else:
            for piece in (MEGABYTE, *PIECES):
                yield partial(self._split, piece)

    def _hop(self, size: int) -> None:
        result = self._call(HOP, f"transfer {size_text(size)}", {"bytes": size})
        if result and result.get("bytes") != size:
            self.report("transfer", 0, error=f"{size} bytes left, others arrived")

    def _image(self, width: int, height: int) -> None:
        size = {"width": width, "height": height}
        result = self._call(VIEW, f"transfer image {width}x{height}", size)
        if result and not result.get("whole"):
            self.report("transfer", 0, error=f"the image {size} arrived broken")

    def _split(self, piece: int) -> None:
        """One megabyte, in calls of a piece each, one after the other."""
        count = -(-MEGABYTE // piece)
        begun = time.perf_counter()
        name = f"transfer piece {size_text(piece)}"
        for _ in range(count):
            self._call(HOP, name, {"bytes": piece})
        ms = (time.perf_counter() - begun) * 1000
        self.report(f"transfer 1 MB as {count} x {size_text(piece)}", ms)

    def _call(
        self, sequence: str, name: str, arguments: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        body = json.dumps(arguments).encode()
        record = self.invoke(
            sequence, body, name=f"{name} call", whole=_arrived, due=None
        )
        if record is None or not _arrived(record.result):
            return None
        self.report(f"{name} hop", record.result["hop_ms"])
        result: dict[str, Any] = record.result
        return result


def _arrived(result: object) -> bool:
    return isinstance(result, dict) and isinstance(result.get("hop_ms"), int | float)


def _variants(options: Namespace) -> list[str]:
    chosen: list[str] = options.transfer.split(",")
    for each in chosen:
        if each not in {"hop", "image", "split"}:
            raise TargetError(f"--transfer {each}: there are hop, image and split")
    return chosen
