"""One epoch of Base: the last part of benchmarks.thinker_memory.

Run:   python -m omnimer_ray.sweep benchmarks/one_epoch.py --limit 24
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Base on sentiment, once through the clips in steps of eight."""
    return SearchSpace(baseline=recipe, variants={"Base": {"epochs": 1.0, "global_batch": 8, "block": 8}}, tasks=("sentiment",))
