"""What benchmarks.sweep_cost trains: Base, one auxiliary schedule of one stage, one of two; both tasks.

Run:   python -m benchmarks.sweep_cost
"""

from omnimer_ray.config import ThinkerConfig, changed
from omnimer_ray.planning.space import SearchSpace

EPOCHS = 2.0


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Main answers alone are evaluated, so that all arms answer the same."""
    everything = {"text", "video", "audio"}
    return SearchSpace(
        baseline=changed(recipe, {"epochs": EPOCHS, "evaluation.auxiliaries": False}),
        variants={
            "Base": {},
            "All Aux (Multi-stage)": {"auxiliaries": everything, "schedule": "multi_stage"},
            "All Aux (Hybrid)": {"auxiliaries": everything, "schedule": "hybrid"},
        },
    )
