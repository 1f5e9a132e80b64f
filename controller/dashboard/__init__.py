"""The fleet as it lives: what it does now, on a web page and at a terminal."""
