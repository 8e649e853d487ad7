"""Does a sweep stop as its signals ask? One run of forty short steps."""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """One row of one table."""
    return SearchSpace(
        baseline=recipe, variants={"Base": {"epochs": 10.0, "global_batch": 8, "evaluation.auxiliaries": False}}, tasks=("sentiment",)
    )
