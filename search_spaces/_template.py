"""One question, ending in a question mark?

Copy this file under a name of its own (`python -m omnimer_ray.sweep --list` then shows it), or keep it anywhere and give its path.
Run:   python -m omnimer_ray.sweep NAME --dry-run
Cost:  see the plan.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """`recipe` is the complete recipe that belongs to the chosen base; a variant has only the fields that differ."""
    return SearchSpace(
        baseline=recipe,
        variants={
            "Base": {},
            "All Aux, polarity not asked first": {"auxiliaries": {"text", "video", "audio"}, "hierarchy": "none"},  # <- the intervention
        },
        tasks=("emotion",),
        seeds=(0, 1, 2),
    )
