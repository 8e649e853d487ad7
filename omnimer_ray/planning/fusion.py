"""Planning half of the fusion networks: a run of one stage that reads features, and the stage's items."""

from __future__ import annotations

from collections.abc import Sequence

from omnimer_ray.config import Kind, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import fraction_of
from omnimer_ray.fusion_config import FusionConfig, resolve_fusion
from omnimer_ray.media.load import MEDIA_VERSION
from omnimer_ray.planning.items import weights
from omnimer_ray.planning.units import Run, Stage
from omnimer_ray.training.schedule import Item, Schedule

FUSION_VERSION = 1  # raise it when code changes what the same config computes
EVALUATION = {"observed"}  # settings without an effect on training


def fusion_run(config: FusionConfig) -> Run:
    """Make the run of a config, in canonical form."""
    config = resolve_fusion(config)
    versions = {"method": config.method, "recipe": FUSION_VERSION, "media": MEDIA_VERSION}
    key = content_hash({**versions, "settings": config.model_dump(exclude=EVALUATION)})
    stage = Stage(key, config, (config.task,), 0, None, features=tuple(config.features[name] for name in config.modalities))
    return Run(content_hash({**versions, "config": config.model_dump(), "stages": [key]}), config, (stage,))


def labelled(config: FusionConfig, clips: Sequence[Clip]) -> list[Clip]:
    """The training clips with the task's label, of the run's fraction; `clips` have the splits of the run."""
    return [clip for clip in fraction_of([clip for clip in clips if clip.split == "train"], config) if clip.label(config.task) is not None]


def fusion_schedule(config: FusionConfig, clips: Sequence[Clip]) -> Schedule:
    """An item per labelled training clip; its answer is the label."""
    training = labelled(config, clips)
    golds = tuple(str(clip.label(config.task)) for clip in training)
    items = tuple(
        Item(clip.id, config.task, gold, weight)
        for clip, gold, weight in zip(training, golds, weights(golds, config.class_balance), strict=True)
    )
    balanced: dict[Kind, tuple[str, ...]] = {config.task: golds} if config.class_balance == "sampling" else {}
    return Schedule({config.task: items}, config.epochs, config.global_batch, config.global_batch, config.seed, balanced=balanced)
