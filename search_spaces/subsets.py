"""Which subset of the auxiliary tasks, under which schedule, at which LoRA rank?

Run:   python -m omnimer_ray.sweep subsets --dry-run
Cost:  120 distinct runs a seed in 148 stages, 28 of them shared by both tasks.
"""

from itertools import combinations

from omnimer_ray.config import RunConfig
from omnimer_ray.plan import SearchSpace

MODALITIES = ("text", "video", "audio")
RANKS = (4, 8, 16, 32)


def space(recipe: RunConfig) -> SearchSpace:
    """The full grid; without auxiliaries both schedules are one run, which the plan merges and says."""
    subsets = [subset for size in range(4) for subset in combinations(MODALITIES, size)]
    return SearchSpace(
        baseline=recipe,
        variants={
            f"{'+'.join(subset) or 'none'} / {schedule} / rank {rank}": {
                "auxiliaries": set(subset),
                "schedule": schedule,
                "lora.rank": rank,
            }
            for subset in subsets
            for schedule in ("hybrid", "multi_stage")
            for rank in RANKS
        },
        grid=True,
    )
