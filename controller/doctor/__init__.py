"""What is wrong with a node, from inside and outside, and what to do about it."""
