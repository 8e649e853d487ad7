"""Search spaces: one file, one question. `python -m omnimer_ray.sweep --list` prints each one's question."""
