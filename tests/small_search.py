"""Does a killed search resume with its history?

A short search for the tests: a few steps a stage, one or two auxiliaries.
"""

from omnimer_ray.config import ThinkerConfig, changed
from omnimer_ray.planning.search_space import Search


def space(recipe: ThinkerConfig) -> Search:
    """Six trials, then the best two and Base on two seeds."""
    return Search(
        baseline=changed(recipe, {"epochs": 5.0, "global_batch": 8, "evaluation.auxiliaries": False}),
        task="sentiment",
        num_trials=6,
        subsets=((), ("text",), ("text", "audio")),
        ranks=(4, 8),
        alphas=(16, 32),
        reduction=2,
        num_confirmed=2,
        confirmation_seeds=(1, 2),
    )
