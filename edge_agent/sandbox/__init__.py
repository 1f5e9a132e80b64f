"""How code runs: one sandbox runs one action, one activation at a time."""
