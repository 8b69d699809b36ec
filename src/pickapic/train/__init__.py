"""Training a PickScore: configuration, batches, and one loop that is read from top to bottom."""
