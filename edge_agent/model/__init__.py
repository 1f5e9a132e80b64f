"""Values without I/O: names, entities, activations, errors, limits."""
