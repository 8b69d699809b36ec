"""Image generators: one protocol, and its implementations."""
