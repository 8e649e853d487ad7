"""Which steps of MMEF-Net raise its score? (Table I of MMEF-Net, as far as its steps can be taken without its encoders)

Run:   python -m omnimer_ray.sweep mmef_ladder --folds 6 --dry-run
Feeds: the score and comparison tables of analysis/.    Cost: networks on features, minutes; the base describes every clip once.
Each row has the step of its name and all steps above it. Six folds are no row but `--folds 6`. Not here: the second video branch on faces, and the
choice of HuBERT's layers; the towers of the base stand for CLIP and HuBERT, and its language tower for RoBERTa. The base, not GPT-4, writes labels and keywords.
With the encoders themselves: a space file of your own that returns `ladder(recipe, features)`.
"""

from typing import Any

from omnimer_ray.config import Modality, RunConfig, ThinkerConfig
from omnimer_ray.feature_config import CharNgrams, Described, Feature, tower_features
from omnimer_ray.fusion_config import Mmef, SvmEnsemble, on_features
from omnimer_ray.planning.space import SearchSpace


def space(recipe: ThinkerConfig) -> SearchSpace:
    """The ladder on the towers of the base."""
    return ladder(recipe, tower_features(recipe.base, recipe.media))


def ladder(recipe: ThinkerConfig, encoded: dict[Modality, Feature]) -> SearchSpace:
    """A baseline, and one step more in every row; `encoded` are the features of each modality."""

    def described(*adds: str) -> Feature:
        about = {"revision": recipe.base.revision, "precision": recipe.base.precision, "answer_language": recipe.answer_language}
        return Feature(
            encoder=Described.model_validate({**about, "adds": adds, "encoder": encoded["text"].encoder}),
            view="described_text",
            media=recipe.media,
        )

    ngrams = Feature(encoder=CharNgrams(), view="text")
    steps: dict[str, dict[str, Any]] = {
        "Baseline": {"text": ngrams, "network": Mmef(projection=False, mlp=False), "standardise": False, "refine_labels": False},
        "+ label refinement": {"refine_labels": True},
        "+ projection": {"network": Mmef(projection=True, mlp=False)},
        "+ text encoder": {"text": encoded["text"]},
        "+ normalization": {"standardise": True},
        "+ label of the base": {"text": described("label")},
        "+ keywords": {"text": described("label", "keywords")},
        "+ descriptions": {"text": described("label", "keywords", "face", "voice")},
        "+ MLP head": {"network": Mmef()},
        "+ ensemble": {"ensemble": SvmEnsemble()},
    }
    variants: dict[str, dict[str, Any] | RunConfig] = {}
    settings: dict[str, Any] = {}
    for name, step in steps.items():
        settings |= step
        features = {**encoded, "text": settings["text"]}
        rest = {name: value for name, value in settings.items() if name not in ("text", "network")}
        variants[name] = on_features(recipe, settings["network"], features, epochs=200.0, **rest)
    names = list(steps)
    contrasts = tuple(zip(names[1:], names, strict=False))
    return SearchSpace(baseline=recipe, variants=variants, tasks=("emotion",), seeds=(0, 1, 2), reference=names[0], contrasts=contrasts)
