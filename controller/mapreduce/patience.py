"""How long a run waits for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """All in seconds."""

    #: Between two looks at a node that works, and how long it may take to answer.
    look_s: float = 2.0
    answer_s: float = 5.0
    #: So many looks in a row without an answer: it is gone.
    looks: int = 3
    #: Between two tries of a node that is gone: from, to.
    try_first_s: float = 0.2
    try_most_s: float = 2.0
    #: Between two looks for nodes that are new.
    find_s: float = 1.5
    #: Without any node: at the start, and later.
    first_node_s: float = 6.0
    no_node_s: float = 60.0
    #: Without a result while all nodes refuse.
    refused_s: float = 120.0
    #: Between two reports of progress.
    progress_s: float = 0.1
