"""The miniature world: a text-to-image world with models and people, small enough to ship."""
