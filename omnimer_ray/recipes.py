"""The recipes, each belonging to a base. [P] stated in the paper, [A] assumed: the paper does not state it.

A recipe is a complete ThinkerConfig; a search space changes it, the command line never does.
"""

from __future__ import annotations

from collections.abc import Callable

from omnimer_ray.config import BaseConfig, CorpusConfig, LoraConfig, MediaConfig, OptimizerConfig, SupervisionConfig, ThinkerConfig
from omnimer_ray.errors import BaseModelError

GIVEN = {
    "epochs": 5.0,
    "global_batch": 128,
    "lora.rank": 8,
}  # the settings marked [P] in config.py, as the paper has them; the other numbers are assumed


def omnimer_qwen7b(corpus: CorpusConfig, base: BaseConfig) -> ThinkerConfig:
    """The paper's recipe: 5 epochs [P], global batch 128 [P], rank 8 [P]; learning rate 1e-4 and alpha 16 [A]. It is ThinkerConfig's defaults."""
    return ThinkerConfig(corpus=corpus, base=base)


def omnimer_qwen3b(corpus: CorpusConfig, base: BaseConfig) -> ThinkerConfig:
    """The same settings on the smaller base [A]: the paper trains the 7B only."""
    return omnimer_qwen7b(corpus, base)


def omnimer_tiny(corpus: CorpusConfig, base: BaseConfig) -> ThinkerConfig:
    """For the tiny Thinker and corpora of a few hundred clips: the paper's batch of 128 would take six steps on mini."""
    return ThinkerConfig(
        corpus=corpus,
        base=base.model_copy(update={"precision": "fp32"}),
        epochs=5,
        global_batch=16,
        optimizer=OptimizerConfig(learning_rate=5e-3, warmup_fraction=0.1),
        lora=LoraConfig(rank=8, alpha=16),
        media=tiny_media(),
        supervision=SupervisionConfig(max_new_tokens=64),
    )


def tiny_media() -> MediaConfig:
    """16 video tokens and 25 audio tokens a second: a main item of mini stays under 300 tokens."""
    return MediaConfig(frames_per_second=2, min_frames=4, max_frames=16, min_pixels=112 * 112, max_pixels=112 * 112, max_sec=8)


RECIPES: dict[int, Callable[[CorpusConfig, BaseConfig], ThinkerConfig]] = {  # by the width of the base's language model
    128: omnimer_tiny,
    2048: omnimer_qwen3b,
    3584: omnimer_qwen7b,
}


def recipe_for(base: str, width: int | None) -> Callable[[CorpusConfig, BaseConfig], ThinkerConfig]:
    """The recipe that belongs to a base of this width. Raises BaseModelError if the width is unknown or has no recipe."""
    if width is None:
        raise BaseModelError(
            f"base {base!r} is not downloaded, and its recipe depends on the width in its config.json; run `hf download {base}` and the same command again"
        )
    if width not in RECIPES:
        raise BaseModelError(
            f"base {base!r}: there is no recipe for a language model of width {width}, only for {', '.join(map(str, RECIPES))}; "
            "add one to RECIPES in omnimer_ray/recipes.py"
        )
    return RECIPES[width]
