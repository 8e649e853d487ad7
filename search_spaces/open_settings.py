"""Does what the paper leaves open change its answer?

Run:   python -m omnimer_ray.sweep open_settings --dry-run
Feeds: the score and per-class tables of analysis/.    Cost: 27 trained runs a seed.
Learning rate, rank and alpha are the axes of `search`, ranks those of `ranks`; the kinds of supervision those of `supervision_kinds`.
"""

from typing import Any

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Each row changes one setting of the row that is named before its comma."""
    everything = {"text", "video", "audio"}
    hybrid, stages = {"auxiliaries": everything, "schedule": "hybrid"}, {"auxiliaries": everything, "schedule": "multi_stage"}
    epochs = recipe.epochs if isinstance(recipe.epochs, float) else max(recipe.epochs)
    variants: dict[str, dict[str, Any]] = {
        "Base": {},
        "Base, inverse-frequency loss": {"class_balance": "inverse_frequency"},
        "Base, balanced sampling": {"class_balance": "sampling"},
        "Base, no hierarchy in the prompt": {"hierarchy": "none"},
        "Base, LoRA in the language model alone": {"lora.placement": "thinker"},
        "Base, LoRA in both towers too": {"lora.placement": "all"},
        "All Aux (Hybrid)": hybrid,
        "All Aux (Hybrid), loss over tokens": {**hybrid, "loss_average": "tokens"},  # answers of Base are of one length
        "All Aux (Multi-stage)": stages,
        "All Aux (Multi-stage), short first stage": {**stages, "epochs": (epochs / 5, epochs)},
        "All Aux (Multi-stage), optimizer carried over": {**stages, "optimizer.carry_over": True},
        "All Aux (Multi-stage), one cosine": {**stages, "optimizer.one_cosine": True},
        "Base + Audio Aux": {"auxiliaries": {"audio"}, "schedule": "hybrid"},
        "Base + Audio Aux, multi-stage": {"auxiliaries": {"audio"}, "schedule": "multi_stage"},
    }
    return SearchSpace(
        baseline=recipe,
        variants=variants,
        contrasts=tuple((name, name.split(",")[0]) for name in variants if "," in name),
        grid=True,  # sentiment has no hierarchy: there that row is Base
    )
