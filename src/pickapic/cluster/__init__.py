"""Work on a Ray cluster: scoring, shards, and services of replicas. Nothing below this package loads Ray."""
