"""Training items of a fusion network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omnimer_ray.config import Kind
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import development_splits, fraction_of
from omnimer_ray.fusion_config import FusionConfig
from omnimer_ray.planning.items import weights
from omnimer_ray.training.schedule import Item, Schedule

DEVELOPMENT_PARTS = 5  # of train by source video, one of which chooses an epoch [A]


def labelled(config: FusionConfig, clips: Sequence[Clip]) -> list[Clip]:
    """The training clips with the task's label, of the run's fraction; `clips` have the splits of the run."""
    return [clip for clip in fraction_of([clip for clip in clips if clip.split == "train"], config) if clip.label(config.task) is not None]


def with_choice(config: FusionConfig, clips: Sequence[Clip]) -> list[Clip]:
    """The clips, with one of five parts of train as development if the epoch is chosen there."""
    if config.choose != "development":
        return list(clips)
    return [*development_splits(clips, DEVELOPMENT_PARTS), *(clip for clip in clips if clip.split != "train")]


def fusion_schedule(config: FusionConfig, clips: Sequence[Clip], refined: Mapping[str, str] | None = None) -> Schedule:
    """An item per labelled training clip; its answer is the label, or its refined one."""
    training = labelled(config, clips)
    golds = tuple((refined or {}).get(clip.id, str(clip.label(config.task))) for clip in training)
    items = tuple(
        Item(clip.id, config.task, gold, weight)
        for clip, gold, weight in zip(training, golds, weights(golds, config.class_balance), strict=True)
    )
    balanced: dict[Kind, tuple[str, ...]] = {config.task: golds} if config.class_balance == "sampling" else {}
    return Schedule({config.task: items}, config.epochs, config.global_batch, config.global_batch, config.seed, balanced=balanced)
