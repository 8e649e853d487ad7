"""Does fine-tuning the Thinker recognise emotion better than small networks on what its frozen towers see?

Run:   python -m omnimer_ray.sweep methods --dry-run
Feeds: the score, per-class and comparison tables of analysis/.    Cost: 2 trained runs of the Thinker a seed and task; the rest is minutes.
Every network reads the last states of the same base's towers, of the transcript, the sound and the pictures.
"""

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.feature_config import tower_features
from omnimer_ray.fusion_config import FusionConfig, Linear, Mfn, Misa, Mmef, Mult, SvmEnsemble, Tfn, late_fusion, on_features
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """A linear probe on each modality and on all, the mean of two of them, five fusion networks, and the Thinker: as it is, Base, and with auxiliaries."""
    towers = tower_features(recipe.base, recipe.media)
    alone: dict[str, FusionConfig] = {f"Linear, {name}": on_features(recipe, Linear(), {name: feature}) for name, feature in towers.items()}
    return SearchSpace(
        baseline=recipe,
        variants={
            **alone,
            "Linear, all": on_features(recipe, Linear()),
            "Late fusion, text and audio": late_fusion(text=alone["Linear, text"], audio=alone["Linear, audio"]),
            "TFN": on_features(recipe, Tfn()),
            "MFN": on_features(recipe, Mfn()),
            "MulT": on_features(recipe, Mult()),
            "MISA": on_features(recipe, Misa()),
            "MMEF-Net's fusion": on_features(recipe, Mmef(), epochs=200.0),
            "MMEF-Net's fusion and ensemble": on_features(recipe, Mmef(), epochs=200.0, ensemble=SvmEnsemble()),
            "Zero-shot (forced choice)": {"training": False, "evaluation.decoding": "constrained"},
            "Base": {},
            "All Aux (Hybrid)": {"auxiliaries": {"text", "video", "audio"}, "schedule": "hybrid"},
        },
        seeds=(0, 1, 2),
        notes={
            "MMEF-Net's fusion": "of MMEF-Net without its encoders, its enriched text and its second video branch: the towers' features take their place"
        },
    )
