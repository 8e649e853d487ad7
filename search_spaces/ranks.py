"""How much does the LoRA rank matter, without auxiliaries and with all of them?

Run:   python -m omnimer_ray.sweep ranks --dry-run
Cost:  16 trained runs a seed.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace

RANKS = (4, 8, 16, 32)


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Base and All Aux (Hybrid) at four ranks; alpha stays, so the scale of an update falls with the rank."""
    everything = {"auxiliaries": {"text", "video", "audio"}, "schedule": "hybrid"}
    variants: dict[str, dict[str, object]] = {f"Base, rank {rank}": {"lora.rank": rank} for rank in RANKS}
    return SearchSpace(
        baseline=recipe,
        variants=variants | {f"All Aux (Hybrid), rank {rank}": {**everything, "lora.rank": rank} for rank in RANKS},
        reference=f"Base, rank {recipe.lora.rank}",
        contrasts=tuple((f"All Aux (Hybrid), rank {rank}", f"Base, rank {rank}") for rank in RANKS),
    )
