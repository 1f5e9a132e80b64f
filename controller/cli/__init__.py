"""`edgectl`: Typer only. One file per command group; nothing heavy at import."""
