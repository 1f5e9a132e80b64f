"""What the node tells about itself: health, the live stream, the log."""
