"""Who holds which pin of the node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.events.base import BuiltinError


@dataclass(frozen=True, slots=True)
class Holder:
    """`key` tells holders apart; `text` tells people: `trigger /guest/t (button)`."""

    key: str
    namespace: str
    text: str


class PinConflict(BuiltinError):
    def __init__(self, place: str, holder: Holder) -> None:
        super().__init__(f"{place} is held by the {holder.text}")


class Pins:
    """Owns the table: a pin (or a channel of an ADC) has one holder at most."""

    def __init__(self) -> None:
        self._holders: dict[str, Holder] = {}

    def check(self, places: Iterable[str], *, key: str) -> None:
        """Whether the holder `key` may have them all.

        Raises:
            PinConflict: naming who has one.
        """
        for place in places:
            holder = self._holders.get(place)
            if holder is not None and holder.key != key:
                raise PinConflict(place, holder)

    def claim(self, places: Iterable[str], holder: Holder) -> None:
        """Hold them all, or none.

        Raises:
            PinConflict: naming who has one.
        """
        wanted = list(places)
        self.check(wanted, key=holder.key)
        self._holders.update(dict.fromkeys(wanted, holder))

    def release(self, key: str) -> None:
        kept = {p: h for p, h in self._holders.items() if h.key != key}
        self._holders = kept

    def holder(self, place: str) -> Holder | None:
        return self._holders.get(place)

    def health(self) -> dict[str, str]:
        return {place: holder.text for place, holder in self._holders.items()}


def places(pins: Iterable[int], other: str = "") -> list[str]:
    return [*(f"GPIO{pin}" for pin in pins), *([other] if other else [])]
