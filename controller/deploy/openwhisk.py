"""After the chart is applied: wait for the invokers, and make a target of the cluster.

What the playbook found out (where callers reach it, and where its pods are) comes as a
file; the keys are those of the cluster's own secret.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import msgspec

from controller.fleet.client import NO_RETRY, Client
from controller.fleet.entries import Cluster, Entry
from controller.fleet.pods import client_of, pods_of, waiting
from controller.fleet.target import target_of_entry
from controller.fleet.transport import OpenWhiskError
from controller.fleet.wire import ActionBody
from edge_agent.model.entities import Exec
from edge_agent.model.errors import EdgeWhiskError

POLL_S = 2.0
#: The first action of a cluster starts a pod for it.
INVOKE_TIMEOUT_S = 60.0
GATE = "edgewhisk-gate"
CODE = "def main(args):\n    return {'sum': args['a'] + args['b']}\n"
SUM = '{"sum":4}'


class NotHealthy(EdgeWhiskError):
    """The cluster did not come to serve; the text says what waits."""

    exit_code: ClassVar[int] = 1


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What the role openwhisk tells."""

    url: str
    namespace: str
    release: str
    insecure: bool = False
    ca: str = ""
    invokers: int = 1
    kubeconfig: str = ""
    context: str = ""
    timeout_s: float = 900.0

    @property
    def cluster(self) -> Cluster:
        return Cluster(
            namespace=self.namespace,
            release=self.release,
            kubeconfig=self.kubeconfig,
            context=self.context,
        )


def read_applied(file: Path) -> Applied:
    return msgspec.json.decode(file.read_bytes(), type=Applied)


async def wait_until_healthy(applied: Applied, say: Callable[[str], None]) -> Entry:
    """Wait for its pods, then for an action to run; the entry of the target.

    Raises:
        NotHealthy: it took too long.
        PodsError: the cluster cannot be asked.
    """
    try:
        async with asyncio.timeout(applied.timeout_s):
            await _wait_for_pods(applied, say)
            entry = await asyncio.to_thread(entry_of, applied)
            await _wait_for_an_action(entry, say)
    except TimeoutError as error:
        left = await asyncio.to_thread(_waiting, applied)
        raise NotHealthy(
            f"not healthy within {applied.timeout_s:g} s:"
            f" {left or 'its pods are ready, but no action runs'}"
            f" (kubectl -n {applied.namespace} get pods)"
        ) from error
    return entry


def entry_of(applied: Applied) -> Entry:
    """The target, with the keys of the cluster's secret; blocks for a round trip."""
    name = f"{applied.release}-whisk.auth"
    secret = client_of(applied.cluster).read_namespaced_secret(name, applied.namespace)
    keys = {k: base64.b64decode(v).decode() for k, v in secret.data.items()}
    return Entry(
        apihost=applied.url,
        auth=keys["guest"],
        system_auth=keys["system"],
        insecure=applied.insecure,
        ca=applied.ca,
        kubernetes=applied.cluster,
    )


async def _wait_for_pods(applied: Applied, say: Callable[[str], None]) -> None:
    told = ""
    while True:
        left = await asyncio.to_thread(_waiting, applied)
        if not left:
            return
        if left != told:
            say(f"waiting for {left}")
            told = left
        await asyncio.sleep(POLL_S)


def _waiting(applied: Applied) -> str:
    return waiting(pods_of(applied.cluster), invokers=applied.invokers)


async def _wait_for_an_action(entry: Entry, say: Callable[[str], None]) -> None:
    """Without a healthy invoker none runs, whatever the pods say."""
    target = target_of_entry("", entry, "the cluster's secret")
    say(f"invoking an action on {target.url}")
    async with Client(target, retry=NO_RETRY, timeout_s=INVOKE_TIMEOUT_S) as client:
        told = None
        while (said := await _invoke(client)) is not None:
            if said != told:
                say(f"not yet: {said}")
                told = said
            await asyncio.sleep(POLL_S)
        await client.delete_action(GATE)


async def _invoke(client: Client) -> str | None:
    """None when it ran and was right; else why not."""
    body = ActionBody(exec=Exec(kind="python:default", code=CODE))
    try:
        await client.put_action(GATE, body)
        outcome = await client.invoke(GATE, b'{"a": 1, "b": 3}')
    except OpenWhiskError as error:
        return str(error)
    result = bytes(outcome.result or b"").decode()
    return None if result == SUM else f"an action answered {result[:200]}"
