"""Which auxiliary tasks help, and in which order? (OmniMER, Tables III to VI)

Run:   python -m omnimer_ray.sweep ablations --dry-run      # then without --dry-run
Feeds: the score and per-class tables of analysis/.    Cost: 12 trained runs in 13 stages a seed, and 4 zero-shot evaluations.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """`recipe` is the complete recipe that belongs to the chosen base; a variant has only the fields that differ."""
    return SearchSpace(
        baseline=recipe,
        variants={
            "Zero-shot": {"training": False},
            "Zero-shot (forced choice)": {"training": False, "evaluation.decoding": "constrained"},
            "Base": {},
            "Base + Text Aux": {"auxiliaries": {"text"}},
            "Base + Visual Aux": {"auxiliaries": {"video"}},
            "Base + Audio Aux": {"auxiliaries": {"audio"}},
            "All Aux (Multi-stage)": {"auxiliaries": {"text", "video", "audio"}, "schedule": "multi_stage"},
            "All Aux (Hybrid)": {"auxiliaries": {"text", "video", "audio"}, "schedule": "hybrid"},
        },
    )
