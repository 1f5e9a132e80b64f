"""Map-reduce over a fleet: job files, scheduling, and the runner of both."""
