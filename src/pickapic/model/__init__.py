"""The model: CLIP as a pair of towers, the one image transform, the one loss."""
