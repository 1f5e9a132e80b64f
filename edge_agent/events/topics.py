"""Topics and topic filters as values that check themselves (MQTT 5, section 4.7).

A `Topic` is what a message is published to; a `TopicFilter` is what a subscription asks
for, with `+` for one level and `#` for the rest, and `$share/group/...` for a share of
the messages. Once there is one, it is legal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from edge_agent.model.errors import BuiltinError

LONGEST_BYTES = 65_535
ONE_LEVEL = "+"
ALL_LEVELS = "#"
SHARED = "$share"
#: First levels under which clients publish nothing (4.7.2, 4.8.2).
BROKERS_OWN = frozenset({SHARED, "$SYS"})


class TopicError(BuiltinError):
    """`text` is no topic, or no filter; the message names the place and the fix."""

    def __init__(self, kind: str, text: object, problem: str) -> None:
        super().__init__(f"{kind} {text!r}: {problem}")


@dataclass(frozen=True)
class Topic:
    """The name a message is published under: no wildcards."""

    text: str

    def __post_init__(self) -> None:
        _check_text("topic", self.text)
        for wildcard in (ONE_LEVEL, ALL_LEVELS):
            if wildcard in self.text:
                place = self.text.index(wildcard) + 1
                problem = (
                    f"{wildcard!r} at character {place} is a wildcard; "
                    "a message is published to one topic, name it in full"
                )
                raise TopicError("topic", self.text, problem)
        # A broker drops the whole connection for one such message.
        if self.text.split("/", 1)[0] in BROKERS_OWN:
            problem = "is the broker's own; a message is published elsewhere"
            raise TopicError("topic", self.text, problem)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class TopicFilter:
    """What a subscription asks for. Equal texts are one subscription to a broker."""

    text: str

    def __post_init__(self) -> None:
        _check_text("topic filter", self.text)
        if self.text == SHARED or self.text.startswith(f"{SHARED}/"):
            self._check_share()
        self._check_levels()

    def __str__(self) -> str:
        return self.text

    @property
    def group(self) -> str | None:
        """The share group of `$share/group/...`, else None."""
        return self.text.split("/", 2)[1] if self._shared else None

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """The levels that topics are compared with."""
        text = self.text.split("/", 2)[2] if self._shared else self.text
        return tuple(text.split("/"))

    @property
    def exact(self) -> bool:
        """Whether it has no wildcard."""
        return ONE_LEVEL not in self.levels and self.levels[-1] != ALL_LEVELS

    def matches(self, topic: str) -> bool:
        """Whether a message published to `topic` (a legal one) is asked for."""
        names = topic.split("/")
        wild = self.levels[0] in (ONE_LEVEL, ALL_LEVELS)
        if wild and topic.startswith("$"):
            return False
        return _levels_match(self.levels, names)

    def covers(self, other: TopicFilter) -> bool:
        """Whether every topic that `other` asks for is asked for here as well.

        A share takes only some of the messages: it covers and is covered by none.
        """
        if self._shared or other._shared:
            return self == other
        wild = self.levels[0] in (ONE_LEVEL, ALL_LEVELS)
        if wild and other.levels[0].startswith("$"):
            return False
        return _levels_cover(self.levels, other.levels)

    def crosses(self, other: TopicFilter) -> bool:
        """Whether both ask for some topic, and neither covers the other."""
        if self._shared or other._shared or self.covers(other) or other.covers(self):
            return False
        return _levels_meet(self.levels, other.levels)

    @property
    def _shared(self) -> bool:
        return self.text.startswith(f"{SHARED}/")

    def _check_share(self) -> None:
        parts = self.text.split("/", 2)
        if len(parts) < 3 or not parts[1] or not parts[2]:  # noqa: PLR2004 the form
            problem = "a shared subscription has the form $share/GROUP/FILTER"
            raise TopicError("topic filter", self.text, problem)
        if ONE_LEVEL in parts[1] or ALL_LEVELS in parts[1]:
            problem = f"the group {parts[1]!r} must be a name without + and #"
            raise TopicError("topic filter", self.text, problem)

    def _check_levels(self) -> None:
        last = len(self.levels)
        for place, level in enumerate(self.levels, 1):
            if ALL_LEVELS in level and (level != ALL_LEVELS or place != last):
                problem = (
                    f"level {place} is {level!r}; # stands alone and last, "
                    "as in 'sensors/#'"
                )
                raise TopicError("topic filter", self.text, problem)
            if ONE_LEVEL in level and level != ONE_LEVEL:
                problem = (
                    f"level {place} is {level!r}; + stands for a whole level, "
                    "as in 'sensors/+/temp'"
                )
                raise TopicError("topic filter", self.text, problem)


def _check_text(kind: str, text: object) -> None:
    if not isinstance(text, str):
        raise TopicError(kind, text, "must be text")
    if not text:
        raise TopicError(kind, text, "is empty; give at least one character")
    if "\0" in text:
        raise TopicError(
            kind, text, f"has a null at character {text.index(chr(0)) + 1}"
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        problem = f"character {error.start + 1} cannot be sent as UTF-8"
        raise TopicError(kind, text, problem) from error
    if size > LONGEST_BYTES:
        shown = f"{text[:32]}..."
        raise TopicError(kind, shown, f"has {size} bytes, {LONGEST_BYTES} are allowed")


def _levels_match(levels: tuple[str, ...], names: list[str]) -> bool:
    for place, level in enumerate(levels):
        if level == ALL_LEVELS:
            return True
        if place == len(names) or level not in (ONE_LEVEL, names[place]):
            return False
    return len(levels) == len(names)


def _levels_cover(levels: tuple[str, ...], others: tuple[str, ...]) -> bool:
    for place, level in enumerate(levels):
        if level == ALL_LEVELS:
            return True
        if place == len(others) or others[place] == ALL_LEVELS:
            return False
        if level not in (ONE_LEVEL, others[place]):
            return False
    return len(levels) == len(others)


def _levels_meet(levels: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether some topic fits both."""
    for one, other in zip_longest(levels, others):
        if ALL_LEVELS in (one, other):
            return True
        if None in (one, other):
            return False
        if one != other and ONE_LEVEL not in (one, other):
            return False
    return True
