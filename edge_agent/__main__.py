"""`edge-agent`: read the command line, run the node until a signal."""

from __future__ import annotations

import sys


def main() -> int:
    """The console script. Exits 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    try:
        from edge_agent.cli import run_command  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "edge_agent":
            raise
        sys.stderr.write(
            f"edge-agent needs the module '{error.name}': "
            "pip install 'edgewhisk[agent]'\n"
        )
        return 2
    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
