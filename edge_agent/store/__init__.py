"""One SQLite file: entities, activations, inbox, subjects, what sources keep."""
