"""Manifests: what every node of a fleet is to have, and how it gets there."""
