"""Making images in turn: jobs, who makes them, and how long that takes."""
