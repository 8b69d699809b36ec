"""The pick loop: from a prompt to two images, an answer, and the next two."""
