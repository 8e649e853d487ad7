"""How much does a trained model lose when modalities are missing at evaluation?

Run:   python -m omnimer_ray.sweep missing --dry-run
Feeds: the missing-modality tables and figures of analysis/.    Cost: 4 trained runs a seed, and 108 further evaluations of them.
"""

from typing import Any

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.planning.space import SearchSpace

SUBSETS = {"T": {"text"}, "A": {"audio"}, "V": {"video"}, "TA": {"text", "audio"}, "TV": {"text", "video"}, "AV": {"audio", "video"}}
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
DRAWS = (0, 1, 2)


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Base and All Aux (Hybrid), each with every modality, with every smaller subset, and with each modality missing at a rate."""
    methods: dict[str, dict[str, Any]] = {
        "Base": {},
        "All Aux (Hybrid)": {"auxiliaries": {"text", "video", "audio"}, "schedule": "hybrid"},
    }
    variants: dict[str, dict[str, Any]] = {}
    for name, delta in methods.items():
        variants[name] = delta
        for subset, modalities in SUBSETS.items():
            variants[f"{name}, only {subset}"] = {**delta, "observed.modalities": modalities}
        for rate in RATES:
            for draw in DRAWS:
                hidden = {"observed.missing_rate": rate, "observed.draw": draw}
                variants[f"{name}, {rate:.0%} missing, draw {draw}"] = {**delta, **hidden}
    return SearchSpace(baseline=recipe, variants=variants, contrasts=(("All Aux (Hybrid)", "Base"),))
