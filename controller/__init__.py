"""The laptop's half of EdgeWhisk: `edgectl` and what it is made of."""
