"""The nodes: which they are, where they are, and how to talk to them."""
