"""Do results of an earlier version stay readable?

The rows of `earlier_results/`, which version 0.1.0 wrote before supervision, evaluation and controls got their settings.
"""

from omnimer_ray.config import ThinkerConfig, changed
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Three rows with small adapters: no training, one stage, two stages."""
    short = changed(recipe, {"epochs": 1.0, "lora.rank": 1, "lora.placement": "thinker"})
    variants = {
        "Zero-shot": {"training": False},
        "Base": {},
        "All Aux": {"auxiliaries": {"text", "video", "audio"}, "schedule": "multi_stage"},
    }
    return SearchSpace(baseline=short, variants=variants, tasks=("emotion",), seeds=(0,))
