"""How much does a trained model lose when modalities are missing at evaluation?

Run:   python -m omnimer_ray.sweep missing --dry-run
Feeds: the missing-modality tables and figures of analysis/.    Cost: 4 trained runs of the Thinker a seed, and 108 further evaluations of them;
16 networks on features with 432 evaluations, a second each.
Every method is shown the same part of the same clips.
"""

from typing import Any

from omnimer_ray.config import RunConfig, ThinkerConfig, changed
from omnimer_ray.fusion_config import Mfn, Misa, Mult, Network, Tfn, on_features
from omnimer_ray.planning.space import SearchSpace

SUBSETS = {"T": {"text"}, "A": {"audio"}, "V": {"video"}, "TA": {"text", "audio"}, "TV": {"text", "video"}, "AV": {"audio", "video"}}
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
DRAWS = (0, 1, 2)
HIDE_RATE = 0.3  # of the networks that are trained with modalities missing [A]


def space(recipe: ThinkerConfig) -> SearchSpace:
    """Base, All Aux (Hybrid) and four networks, these also trained with modalities hidden; each shown every modality, every smaller subset, and each modality at a rate."""
    networks: dict[str, Network] = {"TFN": Tfn(), "MFN": Mfn(), "MulT": Mult(), "MISA": Misa()}
    methods: dict[str, dict[str, Any] | RunConfig] = {
        "Base": {},
        "All Aux (Hybrid)": {"auxiliaries": {"text", "video", "audio"}, "schedule": "hybrid"},
        **{name: on_features(recipe, network) for name, network in networks.items()},
        **{
            f"{name}, trained with {HIDE_RATE:.0%} hidden": on_features(recipe, network, hide_rate=HIDE_RATE)
            for name, network in networks.items()
        },
    }
    variants: dict[str, dict[str, Any] | RunConfig] = {}
    for name, method in methods.items():
        variants[name] = method
        for subset, modalities in SUBSETS.items():
            variants[f"{name}, only {subset}"] = _shown(method, {"observed.modalities": modalities})
        for rate in RATES:
            for draw in DRAWS:
                hidden = {"observed.missing_rate": rate, "observed.draw": draw}
                variants[f"{name}, {rate:.0%} missing, draw {draw}"] = _shown(method, hidden)
    contrasts = (("All Aux (Hybrid)", "Base"), *((name, "Base") for name in networks))
    return SearchSpace(baseline=recipe, variants=variants, contrasts=contrasts)


def _shown(method: dict[str, Any] | RunConfig, observed: dict[str, Any]) -> dict[str, Any] | RunConfig:
    return changed(method, observed) if isinstance(method, RunConfig) else {**method, **observed}
