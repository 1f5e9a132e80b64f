"""Tells `edgectl deploy` what happens: one JSON object a line on a file descriptor.

The fields are those of `controller/deploy/events.py`, which reads them. Ansible's own
output stays what it is (the log).
"""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: edgewhisk_events
type: notification
short_description: Write what happens as JSON lines
description:
  - Writes one JSON object a line for every task, result and recap.
requirements:
  - enabled in configuration
  - the environment variable E(EDGEWHISK_EVENTS_FD), an open file descriptor
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "edgewhisk_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        descriptor = os.environ.get("EDGEWHISK_EVENTS_FD")
        self.disabled = descriptor is None
        if descriptor is not None:
            # Not inherited by ssh masters that outlive the run and would hold it open.
            os.set_inheritable(int(descriptor), False)
            self._out = os.fdopen(int(descriptor), "w", buffering=1)

    def _tell(self, event: str, **facts: Any) -> None:
        self._out.write(json.dumps({"event": event, **facts}, default=str) + "\n")

    def _tell_result(self, event: str, result: Any, **facts: Any) -> None:
        host, task = result.host.get_name(), result.task.get_name()
        self._tell(event, host=host, task=task, **facts)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002, FBT001 Ansible's signature
        self._tell("task", task=task.get_name())

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._tell("task", task=task.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._tell_result("ok", result, changed=result.is_changed())

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: FBT001, FBT002 Ansible's signature
        facts = _failure(result)
        self._tell_result("failed", result, ignored=bool(ignore_errors), **facts)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._tell_result("unreachable", result, text=str(result.result.get("msg", "")))

    def v2_on_file_diff(self, result: Any) -> None:
        parts = [result.result, *result.result.get("results", [])]
        diffs = [part["diff"] for part in parts if part.get("diff")]
        text = "".join(self._get_diff(diff) for diff in diffs)
        if text:
            self._tell_result("diff", result, text=text)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = {name: stats.summarize(name) for name in stats.processed}
        self._tell("recap", hosts=hosts)


def _failure(result: Any) -> dict[str, str]:
    """What the task says, and what its program wrote last, loops and facts included."""
    if result.task.no_log or result.result.get("_ansible_no_log"):
        return {"text": "the output is hidden, since it may hold secrets"}
    parts = [result.result, *result.result.get("results", [])]
    parts += result.result.get("failed_modules", {}).values()
    failed = next((part for part in reversed(parts) if part.get("failed")), parts[0])
    said = failed.get("stderr") or failed.get("module_stderr") or ""
    return {"text": str(failed.get("msg") or ""), "stderr": str(said)[-2000:]}
