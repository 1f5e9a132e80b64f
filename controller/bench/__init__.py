"""Measuring: `python -m controller.bench` for a node, `run` for Locust's scenarios."""
