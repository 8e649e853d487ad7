"""What the labels of a corpus allow: a task without labels is left out of a space, an auxiliary without gold labels is refused."""

from __future__ import annotations

from dataclasses import replace

from omnimer_ray.config import AUXILIARY_OF, ThinkerConfig, changed
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.corpora.select import splits_of
from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.plan import Plan
from omnimer_ray.planning.search_space import Search
from omnimer_ray.planning.space import SearchSpace
from omnimer_ray.tasks.supervision import eligible

FUSED = "auxiliary answers had to agree with the clip's own sentiment, not with that of their modality (supervision.gold: fused)"


def with_labels(space: SearchSpace | Search, corpus: Corpus) -> tuple[SearchSpace | Search, tuple[str, ...]]:
    """The space without tasks that the corpus has no labels for, and a line for each of them. Raises ConfigError if no task is left."""
    tasks = (space.task,) if isinstance(space, Search) else space.tasks
    kept = tuple(task for task in tasks if any(clip.label(task) for clip in corpus.clips))
    if not kept:
        raise ConfigError(
            f"{corpus.name} has no {' and no '.join(tasks)} labels, and the search space has no other task; choose another space"
        )
    lines = tuple(f"{task} is left out: {corpus.name} has no {task} labels" for task in tasks if task not in kept)
    return (space if isinstance(space, Search) else replace(space, tasks=kept)), lines


def without_polarity(recipe: ThinkerConfig, corpus: Corpus) -> tuple[ThinkerConfig, tuple[str, ...]]:
    """The recipe with an emotion prompt that asks for no polarity, and a line, if clips with an emotion have no sentiment to state first."""
    if all(clip.sentiment for clip in corpus.clips if clip.emotion):
        return recipe, ()
    line = f"emotion is asked for without its polarity: clips of {corpus.name} have an emotion and no sentiment"
    return changed(recipe, {"hierarchy": "none"}), (line,)


def check_golds(plan: Plan, corpus: Corpus) -> None:
    """Raise ConfigError if a run is trained on an auxiliary whose modality has no gold labels in train."""
    seen: set[tuple[str, str]] = set()
    for run in plan.runs.values():
        for stage in run.stages:
            config = stage.config
            if not isinstance(config, ThinkerConfig):
                continue
            clips = splits_of(config, corpus.clips) if any(kind in AUXILIARY_OF for kind in stage.kinds) else []
            for kind in stage.kinds:
                if kind in AUXILIARY_OF and (config.supervision.gold, kind) not in seen and not eligible(clips, kind):
                    modality = AUXILIARY_OF[kind].modality
                    raise ConfigError(
                        f"{_variant_of(plan, run.signature)!r} is trained on {kind}, and {corpus.name} has no {modality}_sentiment labels in train; "
                        "--gold fused takes each clip's own sentiment instead, or choose a search space without auxiliaries"
                    )
                seen.add((config.supervision.gold, kind))


def _variant_of(plan: Plan, signature: str) -> str:
    """The variant of a run."""
    return next((row.variant for row in plan.rows if row.signature == signature), signature)
