"""Resource limits of a sandbox, set by its own first program.

The agent cannot set them from outside: for that it needs a capability that even root
lacks in a container. And processes are counted by user namespace, so that this limit
must be set inside of it. The Python launcher takes them as an argument; other
interpreters are started by a shell that sets them first.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

_BLOCK, _KIBIBYTE = 512, 1024
#: In POSIX's words; the number of processes is -p for dash and -u for bash.
_SCRIPT = (
    'ulimit -c 0; ulimit -n {files}; ulimit -f {blocks}; {processes}{data}exec "$@"'
)
_PROCESSES = "ulimit -p {0} 2>/dev/null || ulimit -u {0}; "


@dataclass(frozen=True, slots=True)
class Bounds:
    """`processes` and `data_bytes` may be 0: unbounded."""

    open_files: int
    file_bytes: int
    processes: int = 0
    data_bytes: int = 0

    def as_argument(self) -> str:
        """`number=value,...` with the numbers of setrlimit."""
        limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: self.open_files,
            resource.RLIMIT_FSIZE: self.file_bytes,
        }
        if self.processes:
            limits[resource.RLIMIT_NPROC] = self.processes
        if self.data_bytes:
            limits[resource.RLIMIT_DATA] = self.data_bytes
        return ",".join(f"{number}={value}" for number, value in limits.items())

    def as_command(self) -> list[str]:
        """What to put before a command."""
        script = _SCRIPT.format(
            files=self.open_files,
            blocks=self.file_bytes // _BLOCK,
            processes=_PROCESSES.format(self.processes) if self.processes else "",
            data=f"ulimit -d {self.data_bytes // _KIBIBYTE}; "
            if self.data_bytes
            else "",
        )
        return ["/bin/sh", "-c", script, "sh"]
