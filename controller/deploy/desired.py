"""The end of a deployment: each node that serves has what was applied to the fleet.

So a node that is new, or flashed anew, gets what the others have (`edgectl apply`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from controller.deploy.events import HostRecap, Recap
from controller.fleet.target import TargetError
from controller.manifest.again import apply_again
from controller.manifest.apply import NodeResult
from controller.manifest.kept import KeptError

_PAST = {"create": "created", "update": "updated", "delete": "removed"}


def bring_desired(inventory: Path, say: Callable[[str], None], recap: Recap) -> Recap:
    """Apply the fleet's kept state to the nodes that are well; the recap with that.

    Its changes count as the node's; a node that did not get all of it is not well.
    """
    well = [name for name, host in recap.hosts.items() if host.well]
    if not well:
        return recap
    try:
        results = asyncio.run(apply_again(inventory, hosts=well))
    except (KeptError, TargetError) as error:
        told = {name: _lacks(recap.hosts[name], str(error)) for name in well}
        return Recap({**recap.hosts, **told})
    ended = {result.target.name: result for result in results}
    return Recap(
        {
            name: _with(host, ended[name], say) if name in ended else host
            for name, host in recap.hosts.items()
        }
    )


def _with(host: HostRecap, result: NodeResult, say: Callable[[str], None]) -> HostRecap:
    for change in result.done:
        say(f"{result.target.name}: changed: {_PAST[change.op]} {change.key}")
    changed = msgspec.structs.replace(host, changed=host.changed + len(result.done))
    problems = [*result.problems, *([result.away] if result.away else [])]
    return _lacks(changed, "; ".join(problems)) if problems else changed


def _lacks(host: HostRecap, why: str) -> HostRecap:
    reason = f"serves, but not all that was applied is there: {' '.join(why.split())}"
    return msgspec.structs.replace(
        host, failed=host.failed + 1, reason=f"{reason} (mend it: edgectl apply)"
    )
