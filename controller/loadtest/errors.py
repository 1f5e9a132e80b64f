"""What can go wrong with a load test; each text is one line for the user.

LoadtestError       the work failed (exit code 1)
└─ BadLoadtest      what was asked for is wrong (exit code 2)
"""

from __future__ import annotations

from typing import ClassVar

from edge_agent.model.errors import EdgeWhiskError


class LoadtestError(EdgeWhiskError):
    exit_code: ClassVar[int] = 1


class BadLoadtest(LoadtestError):
    exit_code: ClassVar[int] = 2
