"""Which subset of the auxiliary tasks, under which schedule, at which LoRA rank?

Run:   python -m omnimer_ray.sweep subsets --dry-run
Cost:  120 distinct runs a seed in 148 stages, 28 of them shared by both tasks.
"""

from itertools import combinations

from omnimer_ray.config import AUXILIARIES, SCHEDULES, ThinkerConfig
from omnimer_ray.planning.space import SearchSpace

RANKS = (4, 8, 16, 32)


def space(recipe: ThinkerConfig) -> SearchSpace:
    """The full grid; without auxiliaries all schedules are one run, which the plan merges and reports."""
    subsets = [subset for size in range(len(AUXILIARIES) + 1) for subset in combinations(AUXILIARIES, size)]
    first = next(iter(SCHEDULES))
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
        reference=f"none / {first} / rank {recipe.lora.rank}",
        contrasts=tuple(
            (f"{'+'.join(subset)} / {schedule} / rank {recipe.lora.rank}", f"none / {first} / rank {recipe.lora.rank}")
            for subset in subsets[1:]
            for schedule in SCHEDULES
        ),
        grid=True,
    )
