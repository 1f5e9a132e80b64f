"""The container driver: sandboxes that are containers of a Docker or Podman engine."""
