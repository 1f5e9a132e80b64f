"""A site of the tests: its machines, the inventory that names them, and `edgectl`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.hosts.conftest import Machine

# What a deployment writes; the node's own data changes by itself.
FINGERPRINT = (
    "sudo find /opt /etc /usr/local /root /home -xdev -printf '%p %y %m %u %s %T@ %l\\n'"
    " 2>/dev/null | grep -v '/.ansible' | sort"
)
# Run inside the lab's network: one request, its answer as JSON on stdout.
ASK = """
import base64, json, ssl, sys, urllib.request
method, url, ca, key, body = sys.argv[1:]
token = base64.b64encode(key.encode()).decode()
headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
data = body.encode() if body else None
request = urllib.request.Request(url, method=method, data=data, headers=headers)
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
print(urllib.request.urlopen(request, timeout=60, context=context).read().decode())
"""


WAIT_S = 120


def wait_until(condition: Callable[[], bool]) -> None:
    """Asked again and again; a request that fails meanwhile is no answer."""
    give_up = time.monotonic() + WAIT_S
    while True:
        with suppress(AssertionError):
            if condition():
                return
        if time.monotonic() > give_up:
            raise TimeoutError
        time.sleep(0.3)


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    document: dict[str, Any]
    talk: str

    def host(self, name: str) -> dict[str, Any]:
        recap: dict[str, Any] = self.document["hosts"][name]
        return recap

    @property
    def changed(self) -> dict[str, int]:
        return {name: host["changed"] for name, host in self.document["hosts"].items()}


@dataclass(frozen=True, slots=True)
class Site:
    """Machines and the inventory that names them; `edgectl` is an installed wheel."""

    machines: tuple[Machine, ...]
    folder: Path
    wheelhouse: Path
    edgectl: Path

    @property
    def machine(self) -> Machine:
        return self.machines[0]

    def inventory(self, name: str = "fleet.yaml", **more: Any) -> Path:
        variables = {
            "ansible_user": "pi",
            "ansible_ssh_private_key_file": str(self.machine.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.folder}/known",
        }
        hosts = {one.name: {"ansible_host": one.address} for one in self.machines}
        hosts |= more.pop("hosts", {})
        groups = more.pop("groups", {})
        group = {"vars": variables | more, "hosts": hosts, "children": groups}
        path = self.folder / name
        path.write_text(json.dumps({"all": group}))
        return path

    def with_broker(self, name: str = "fleet.yaml", **more: Any) -> Path:
        """The inventory that has the first machine as the fleet's broker."""
        broker = {"hosts": {self.machine.name: {}}}
        return self.inventory(name, groups={"mqtt_brokers": broker}, **more)

    def deploy(self, inventory: Path, *options: str) -> Outcome:
        wheels = ["--wheelhouse", str(self.wheelhouse)]
        return self.play("deploy", "-i", str(inventory), *wheels, *options)

    def play(self, *arguments: str) -> Outcome:
        done = self.run(*arguments, "--json")
        document = json.loads(done.stdout) if done.stdout else {}
        return Outcome(done.returncode, document, done.stderr)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`edgectl ARGUMENTS` in the lab's network."""
        return subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            cwd=self.folder,  # not the checkout, which would come before the wheel
            env=self._environment,
        )

    def _command(self, *arguments: str) -> list[str]:
        python = [sys.executable, "-m", "controller"]
        return [*self.machine.enter, *python, *arguments]

    @property
    def _environment(self) -> dict[str, str]:
        ours = {"HOME": str(self.folder), "PYTHONPATH": str(self.edgectl)}
        return {**os.environ, **ours, "XDG_STATE_HOME": ""}

    def with_release(self, file: str, text: str, *, only: bool = False) -> Site:
        """The same site with a release of which `file` ends with, or is, `text`."""
        copy = self.folder / f"release-{abs(hash((file, text)))}"
        shutil.copytree(self.edgectl, copy)
        changed = copy / file
        kept = "" if only else changed.read_text()
        changed.write_text(f"{kept}\n{text}\n")
        return replace(self, edgectl=copy)

    @contextmanager
    def under_way(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """`edgectl ARGUMENTS` while something else happens; its talk is its stderr."""
        with subprocess.Popen(
            self._command(*arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self._environment,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def releases(self) -> list[str]:
        """What each machine runs."""
        link = "basename $(readlink /opt/edgewhisk/current)"
        return [machine.ssh(link).strip() for machine in self.machines]

    def key(self, machine: Machine, *, system: bool = False) -> str:
        kept = self.folder / "group_vars/all/edge_agent.yaml"
        if system:
            kept = self.folder / "host_vars" / machine.name / "edge_agent.yaml"
        found = re.search(r'edge_agent_(?:system_)?key: "(.*)"', kept.read_text())
        assert found is not None
        return found[1]

    def ask(
        self,
        method: str,
        path: str,
        body: str = "",
        *,
        system: bool = False,
        machine: Machine | None = None,
        key: str = "",
    ) -> Any:
        """One request by https, which the fleet's authority vouches for."""
        where = machine or self.machine
        url, ca = f"https://{where.address}{path}", str(self.folder / "pki/ca.pem")
        key = key or self.key(where, system=system)
        asking = [sys.executable, "-c", ASK, method, url, ca, key, body]
        done = subprocess.run(
            [*self.machine.enter, *asking], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
