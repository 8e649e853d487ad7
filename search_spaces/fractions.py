"""How much training data does each recipe need?

Run:   python -m omnimer_ray.sweep fractions --dry-run
Feeds: the score and per-class tables of analysis/.    Cost: 12 trained runs a seed.
A fraction is drawn by source video from the seed; epochs stay, so fewer videos are fewer steps as well.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace

FRACTIONS = (0.25, 0.5, 1.0)


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Base and All Aux (Hybrid) on a quarter, half and all of the training videos."""
    methods = {"Base": {}, "All Aux (Hybrid)": {"auxiliaries": {"text", "video", "audio"}, "schedule": "hybrid"}}
    return SearchSpace(
        baseline=recipe,
        variants={
            name if fraction == 1 else f"{name}, {fraction:.0%} of train": {**delta, "train_fraction": fraction}
            for name, delta in methods.items()
            for fraction in FRACTIONS
        },
    )
