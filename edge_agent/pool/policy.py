"""Which sandbox runs which job: decisions only, nothing here changes anything.

The pool hands in a `View` of itself, a few counts and look-ups that cost the same
however many sandboxes there are, because `place` is asked once for every warm job.

Choosing (D6 of the contract): a warm sandbox of the same namespace and action revision,
latest use first; a prewarmed one of the same kind and memory; a new one where memory
allows; an eviction of idle ones, oldest use first; else wait. Where we differ, and why:

- An eviction frees nothing yet. A sandbox counts until it is destroyed, so that the
  memory of live processes never exceeds the pool's, not even for a moment. `Evict`
  means: destroy these and ask again. Memory that is on its way is counted, so that
  asking twice evicts once.
- OpenWhisk evicts the oldest until it fits; we then spare those of them that turned out
  not to be needed (one of 512 MB was enough, the 128 MB before it stays).
- Prewarmed ones are evicted for a job that would otherwise wait for ever: one that does
  not fit beside them even if everything else were gone.
- A job greater than the whole pool is refused at once instead of waiting for ever.

A job that a running one may be waiting for (`may_be_nested`) would wait for ever if
such callers held all of the memory. It may take `extra_mb` beyond the pool's and does
not queue for it. An action without a key cannot call, so few others ever do.

Who is next: the queue is FIFO and its head decides, with two exceptions.

- Blocking jobs have a lane of their own, as somebody is waiting for each of them. They
  go first, but after `BLOCKING_IN_A_ROW` of them one of the others (`blocking_next`).
- A head that waits for memory may be overtaken by a job whose warm sandbox stands idle.
  That is free when the memory for the head is already on its way: nothing is delayed.
  Otherwise it would keep the sandbox from being evicted, so it is allowed only while
  the overtakers together take no longer than about the cold start that the head is
  about to pay (`OVERTAKE_MS`, judged by the last run of each sandbox). Strict FIFO
  would make two actions that share a full pool evict each other on every job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from edge_agent.model.jobs import Job
from edge_agent.pool.context import provides_key

#: What a sandbox has by default and what prewarmed ones have.
STANDARD_MB = 256
#: So many blocking jobs go before one that nobody waits for, when both are queued.
BLOCKING_IN_A_ROW = 3
#: How much running time may be put before a head that waits for memory.
OVERTAKE_MS = 100

Revision = tuple[str, str, str, int]
H = TypeVar("H")
H_co = TypeVar("H_co", covariant=True)


class Request(Protocol):
    """What a job needs. `kind` is as the action declares it.

    `network` is `auto`, which is what prewarmed sandboxes have, or `none`.
    """

    @property
    def revision(self) -> Revision: ...

    @property
    def kind(self) -> str: ...

    @property
    def memory_mb(self) -> int: ...

    @property
    def network(self) -> str: ...

    @property
    def concurrency(self) -> int: ...


class View(Protocol[H_co]):
    """What the policy may know of the pool; a handle stands for one sandbox.

    `used_mb` is declared by all that are not gone, `freeing_mb` by those of them that
    are being removed. `idle` and `prewarmed` are handles and their memory, those of
    `idle` oldest use first. `coming_for` is one that is being made for this revision
    and has seats left. `concrete` resolves a kind, None when nothing serves it.
    """

    @property
    def memory_mb(self) -> int: ...

    @property
    def used_mb(self) -> int: ...

    @property
    def freeing_mb(self) -> int: ...

    def concrete(self, kind: str) -> str | None: ...

    def warm_for(self, revision: Revision) -> H_co | None: ...

    def prewarmed_for(self, kind: str, memory_mb: int) -> H_co | None: ...

    def coming_for(self, revision: Revision) -> H_co | None: ...

    def idle(self) -> Iterable[tuple[H_co, int]]: ...

    def prewarmed(self) -> Iterable[tuple[H_co, int]]: ...


class Reuse(msgspec.Struct, Generic[H], frozen=True):
    sandbox: H


class UsePrewarmed(msgspec.Struct, Generic[H], frozen=True):
    sandbox: H


class Board(msgspec.Struct, Generic[H], frozen=True):
    """Wait with others for this one, which is being made for them all."""

    sandbox: H


class Create(msgspec.Struct, frozen=True):
    """A new one of this concrete kind."""

    kind: str


class Evict(msgspec.Struct, Generic[H], frozen=True):
    """Remove these, and ask again when they are gone."""

    victims: tuple[H, ...]


class Wait(msgspec.Struct, frozen=True):
    """Ask again when something ends; `on_its_way`: what is being removed will do."""

    on_its_way: bool


class Refuse(msgspec.Struct, frozen=True):
    """It cannot ever run here; the text is for the user."""

    text: str


Decision = Reuse[H] | Board[H] | UsePrewarmed[H] | Create | Evict[H] | Wait | Refuse


def place(request: Request, view: View[H], *, extra_mb: int = 0) -> Decision[H]:
    """Where `request` runs, or what has to happen first (D6-D9)."""
    warm = view.warm_for(request.revision)
    if warm is not None:
        return Reuse(warm)
    return _place_cold(request, view, extra_mb)


def _place_cold(request: Request, view: View[H], extra_mb: int) -> Decision[H]:
    if request.concurrency > 1:
        coming = view.coming_for(request.revision)
        if coming is not None:
            return Board(coming)
    need_mb = request.memory_mb
    if need_mb > view.memory_mb:
        return Refuse(
            f"The action needs {need_mb} MB of memory and this node has "
            f"{view.memory_mb} MB for all of its sandboxes."
        )
    kind = view.concrete(request.kind)
    if kind is None:
        return Refuse(f"This node has no runtime for the kind '{request.kind}'.")
    if request.network == "auto":
        prewarmed = view.prewarmed_for(kind, need_mb)
        if prewarmed is not None:
            return UsePrewarmed(prewarmed)
    missing_mb = need_mb - (view.memory_mb + extra_mb - view.used_mb)
    if missing_mb <= 0:
        return Create(kind)
    return _make_room(need_mb, missing_mb - view.freeing_mb, view)


def _make_room(need_mb: int, missing_mb: int, view: View[H]) -> Decision[H]:
    if missing_mb <= 0:
        return Wait(on_its_way=True)
    victims = fewest(view.idle(), missing_mb)
    if not victims and _never_fits_beside_prewarmed(need_mb, view):
        victims = fewest([*view.idle(), *view.prewarmed()], missing_mb)
    return Evict(victims) if victims else Wait(on_its_way=False)


def _never_fits_beside_prewarmed(need_mb: int, view: View[H]) -> bool:
    return need_mb > view.memory_mb - sum(mb for _, mb in view.prewarmed())


def fewest(candidates: Iterable[tuple[H, int]], missing_mb: int) -> tuple[H, ...]:
    """The first candidates that free `missing_mb`, less those that can be spared.

    Empty when all of them together do not free enough: then none is worth removing.
    """
    taken: list[tuple[H, int]] = []
    surplus_mb = -missing_mb
    for handle, memory_mb in candidates:
        if surplus_mb >= 0:
            break
        taken.append((handle, memory_mb))
        surplus_mb += memory_mb
    return _spare(taken, surplus_mb) if surplus_mb >= 0 else ()


def _spare(taken: list[tuple[H, int]], surplus_mb: int) -> tuple[H, ...]:
    """Keep what is not needed, the latest used first."""
    victims: list[H] = []
    for handle, memory_mb in reversed(taken):
        if memory_mb <= surplus_mb:
            surplus_mb -= memory_mb
        else:
            victims.append(handle)
    return tuple(reversed(victims))


def may_be_nested(job: Job, running: Iterable[Job]) -> bool:
    """Whether one of `running` may be waiting for `job`.

    It is when it has passed its transaction id on, as the npm client does. It may be
    when it was given the key of the namespace that the job runs in.
    """
    return job.blocking and any(
        each.transaction_id == job.transaction_id
        or (
            each.identity.namespace == job.identity.namespace
            and provides_key(each.action)
        )
        for each in running
    )


def blocking_next(*, blocking: bool, others: bool, in_a_row: int) -> bool:
    """Which lane is next: True for the blocking one; both flags: something waits."""
    return blocking and not (others and in_a_row >= BLOCKING_IN_A_ROW)


def overtaking_costs(
    decision: Decision[H], *, sandbox: H, run_ms: int, overtaken_ms: int
) -> int | None:
    """What a run in `sandbox` before a head with `decision` adds to its `overtaken_ms`.

    None when the head may not be overtaken by it, or not yet: with a sandbox that is no
    victim it will be free once the victims are on their way.
    """
    if isinstance(decision, Wait) and decision.on_its_way:
        return 0
    if isinstance(decision, Evict) and sandbox not in decision.victims:
        return None
    cost_ms = max(run_ms, 1)
    return cost_ms if overtaken_ms + cost_ms <= OVERTAKE_MS else None


def expired(
    idle: Iterable[tuple[H, int]], *, now_ns: int, idle_ns: int
) -> tuple[H, ...]:
    """Those of `idle` (handle and last use) not used for `idle_ns`."""
    return tuple(h for h, used_ns in idle if now_ns - used_ns >= idle_ns)


def to_prewarm(
    wanted: Mapping[str, int], standing: Mapping[str, int], *, free_mb: int
) -> tuple[str, ...]:
    """The kinds to start, one for each, so that `wanted` stand, as far as memory goes.

    Kinds take turns, so that memory for two gives one of each and not two of the first.
    """
    missing = {k: n - standing.get(k, 0) for k, n in wanted.items()}
    rounds = max(missing.values(), default=0)
    turns = (k for turn in range(rounds) for k, n in missing.items() if turn < n)
    return tuple(k for k, _ in zip(turns, range(free_mb // STANDARD_MB), strict=False))


def to_shrink(view: View[H]) -> tuple[H, ...]:
    """What to remove when the pool uses more than its memory.

    Idle ones first, then prewarmed ones; the busy ones' turn comes as they end.
    """
    excess_mb = view.used_mb - view.freeing_mb - view.memory_mb
    if excess_mb <= 0:
        return ()
    candidates = [*view.idle(), *view.prewarmed()]
    return fewest(candidates, excess_mb) or tuple(handle for handle, _ in candidates)
