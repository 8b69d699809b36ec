"""Who takes part: how they sign in, what they agreed to, and what is forgotten of them."""
