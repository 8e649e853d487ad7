"""Is it the auxiliaries, or only more updates, more passes or a restart?

Run:   python -m omnimer_ray.sweep controls --dry-run
Feeds: the score and per-class tables of analysis/, whose columns of steps and main items are what the rows hold equal.
Cost:  16 trained runs a seed, and 3 parts of the supervision ledger.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Base with more of what the auxiliaries bring beside their information; `notes` say what a comparison with it rules out."""
    everything = {"text", "video", "audio"}
    epochs = recipe.epochs if isinstance(recipe.epochs, float) else max(recipe.epochs)
    quarter = recipe.global_batch // 4
    return SearchSpace(
        baseline=recipe,
        variants={
            "Base": {},
            "Base, 2x epochs": {"epochs": 2 * epochs},
            "Base, 4x epochs": {"epochs": 4 * epochs},
            "Base after Base": {"schedule": "main_twice", "epochs": (3 * epochs, epochs)},
            "Base, quarter batch": {"global_batch": quarter, "block": min(recipe.block, quarter)},
            "Base, steps of Hybrid": {"steps": everything},
            "All Aux (Multi-stage)": {"auxiliaries": everything, "schedule": "multi_stage"},
            "All Aux (Hybrid)": {"auxiliaries": everything, "schedule": "hybrid"},
        },
        contrasts=(
            *(("All Aux (Hybrid)", name) for name in ("Base", "Base, 2x epochs", "Base, 4x epochs")),
            *(("All Aux (Hybrid)", name) for name in ("Base, quarter batch", "Base, steps of Hybrid")),
            *(("All Aux (Multi-stage)", name) for name in ("Base", "Base after Base")),
        ),
        notes={
            "Base, 2x epochs": "if it is as good as All Aux, more passes over the main items are enough",
            "Base, 4x epochs": "if it is as good as All Aux, as many passes as All Aux (Hybrid) has items, on the main task alone, are enough",
            "Base after Base": "if it is as good as All Aux (Multi-stage), a restart of optimizer and learning rate after a long stage is enough",
            "Base, quarter batch": "if it is as good as All Aux, as many updates on the same main items are enough",
            "Base, steps of Hybrid": "if it is as good as All Aux (Hybrid), exactly its number of updates, on the main task alone, is enough",
        },
    )
