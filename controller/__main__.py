"""`edgectl`: the console script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a missing extra is named instead of shown as a crash."""
    try:
        from controller.cli.app import app  # noqa: PLC0415 its extra may be missing
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name in {"controller", "edge_agent"}:
            raise
        sys.stderr.write(
            f"error: edgectl needs the extra: pip install 'edgewhisk[controller]'"
            f" (there is no module '{name}')\n"
        )
        sys.exit(2)
    app()


if __name__ == "__main__":
    main()
