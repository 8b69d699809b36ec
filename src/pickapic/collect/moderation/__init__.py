"""What may be asked for and what may be shown: prompts before anything is queued, images before anybody sees them."""
