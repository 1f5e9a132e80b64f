"""The agent of one EdgeWhisk node: a Lean OpenWhisk in one small process."""

__version__ = "0.1.0"
