"""The life of one sandbox as the pool sees it: a table, and one function that reads it.

             start            started           init               run
       new ────────► starting ───────► prewarmed ────► initializing ────► running
                        │                  │                │           ▲ │     │
                        │                  │                │       run │ │ done│
                        │ fail             │ remove, fail   │ fail      │ ▼     │
                        │                  │                │          ready    │ fail
                        │                  │                │            │      │
                        ▼                  ▼                ▼            ▼      ▼
                        └──────────────────┴── removing ◄───┴────────────┴──────┘
                                                  │              remove, fail
                                          removed ▼
                                                 gone

Every change of a state goes through `advance`; an event that is not in the table
raises and changes nothing.

- In OpenWhisk new is Uninitialized and prewarmed is Started; the others are the same.
- OpenWhisk's pausing and paused are left out on purpose. It freezes a sandbox ten
  seconds after its last run and pays for the thaw on the next one; we promise that warm
  stays warm (design.md, promise 5), an idle process costs no processor time anyhow, and
  its memory is not given back by freezing. So nothing would ever send `pause`.
- `remove` is legal only where the pool may take a sandbox away at will: prewarmed and
  ready. One that starts, initializes or runs leaves by `fail` alone. Therefore no job
  loses its sandbox to an eviction, and OpenWhisk's `rescheduleJob` is not needed.
- One activation at a time: there is no running -> running, hence no counter of runs.
  A sandbox that serves several has seats, each with a life of its own that begins with
  `sit` in ready (party.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    NEW = "new"
    STARTING = "starting"
    PREWARMED = "prewarmed"
    INITIALIZING = "initializing"
    READY = "ready"
    RUNNING = "running"
    REMOVING = "removing"
    GONE = "gone"


class Event(StrEnum):
    START = "start"
    SIT = "sit"
    STARTED = "started"
    INIT = "init"
    RUN = "run"
    DONE = "done"
    REMOVE = "remove"
    FAIL = "fail"
    REMOVED = "removed"


TRANSITIONS: Mapping[State, Mapping[Event, State]] = MappingProxyType(
    {
        State.NEW: {Event.START: State.STARTING, Event.SIT: State.READY},
        State.STARTING: {Event.STARTED: State.PREWARMED, Event.FAIL: State.REMOVING},
        State.PREWARMED: {
            Event.INIT: State.INITIALIZING,
            Event.REMOVE: State.REMOVING,
            Event.FAIL: State.REMOVING,
        },
        State.INITIALIZING: {Event.RUN: State.RUNNING, Event.FAIL: State.REMOVING},
        State.READY: {
            Event.RUN: State.RUNNING,
            Event.REMOVE: State.REMOVING,
            Event.FAIL: State.REMOVING,
        },
        State.RUNNING: {Event.DONE: State.READY, Event.FAIL: State.REMOVING},
        State.REMOVING: {Event.REMOVED: State.GONE},
        State.GONE: {},
    }
)


class IllegalEvent(Exception):
    """The pool asked for what cannot be: a fault of ours, never of an action."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a sandbox that is {state} has no event {event}")
        self.state = state
        self.event = event


def advance(state: State, event: Event) -> State:
    """The state after `event`.

    Raises:
        IllegalEvent: the table has no such transition.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalEvent(state, event) from None
