"""Keeping a collection whole: copies of it, files that nothing names, images that are not there."""
