"""Does a sweep stop as its signals ask? One run of forty short steps."""

from omnimer_ray.config import RunConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: RunConfig) -> SearchSpace:
    """One row of one table."""
    return SearchSpace(
        baseline=recipe, variants={"Base": {"epochs": 10.0, "global_batch": 8, "evaluation.auxiliaries": False}}, tasks=("sentiment",)
    )
