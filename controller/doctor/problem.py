"""One thing that is wrong, or could be better, with the line that mends it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """`id` is for scripts. What is not `serious` is advice: it fails nothing now."""

    id: str
    text: str
    mend: str = ""
    serious: bool = True

    def __str__(self) -> str:
        return f"{self.text} (to mend it: {self.mend})" if self.mend else self.text
