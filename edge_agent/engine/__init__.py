"""The use cases: invoke, fire, deliver; entities and their rules."""
