"""Scorers: how good is this image for this prompt. Each is loaded by name, through `plugins`."""
