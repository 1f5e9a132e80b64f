"""What a run has come to, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cli.mapreduce_progress import scaled
from controller.cli.output import Output

if TYPE_CHECKING:
    from controller.mapreduce.progress import Report


def tell(out: Output, report: Report) -> None:
    """The nodes and the sum."""
    out.table(
        ("NODE", "CHUNKS", "BUSY", "PER SECOND", "FAILURES", "BACKUPS"),
        [
            (
                node.name,
                str(node.chunks),
                f"{node.busy_share(report.map_s):.0%}",
                scaled(node.items_per_s),
                str(node.failures),
                str(node.backups),
            )
            for node in report.nodes
        ],
        document=None,
    )
    out.ok(
        f"{report.chunks} chunks in {report.seconds:.1f} s,"
        f" {report.retries} retries, {report.backups} backups,"
        f" efficiency {report.efficiency:.0%}"
    )
    if report.folder:
        out.say(f"results, report and picture are in {report.folder}")
