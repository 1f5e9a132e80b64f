"""HTTP: one file for each resource, the router, and how answers are made."""
