"""Which subset of the auxiliary tasks, under which schedule, at which LoRA rank?

Run:   python -m omnimer_ray.sweep subsets --dry-run
Cost:  120 distinct runs a seed in 148 stages, 28 of them shared by both tasks.
"""

from itertools import combinations

from omnimer_ray.config import AUXILIARIES, SCHEDULES, RunConfig
from omnimer_ray.planning.space import SearchSpace

RANKS = (4, 8, 16, 32)


def space(recipe: RunConfig) -> SearchSpace:
    """The full grid; without auxiliaries all schedules are one run, which the plan merges and reports."""
    subsets = [subset for size in range(len(AUXILIARIES) + 1) for subset in combinations(AUXILIARIES, size)]
    return SearchSpace(
        baseline=recipe,
        variants={
            f"{'+'.join(subset) or 'none'} / {schedule} / rank {rank}": {
                "auxiliaries": set(subset),
                "schedule": schedule,
                "lora.rank": rank,
            }
            for subset in subsets
            for schedule in SCHEDULES
            for rank in RANKS
        },
        grid=True,
    )
