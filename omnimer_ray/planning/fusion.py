"""Planning half of the fusion networks: a run is one stage that reads features."""

from __future__ import annotations

from omnimer_ray.config import content_hash
from omnimer_ray.fusion_config import FusionConfig, resolve_fusion
from omnimer_ray.media.load import MEDIA_VERSION
from omnimer_ray.planning.units import Run, Stage

FUSION_VERSION = 1  # raise it when code changes what the same config computes
EVALUATION = {"observed"}  # settings without an effect on training


def fusion_run(config: FusionConfig) -> Run:
    """Make the run of a config, in canonical form."""
    config = resolve_fusion(config)
    versions = {"method": config.method, "recipe": FUSION_VERSION, "media": MEDIA_VERSION}
    key = content_hash({**versions, "settings": config.model_dump(exclude=EVALUATION)})
    stage = Stage(key, config, (config.task,), 0, None, features=tuple(config.features[name] for name in config.modalities))
    return Run(content_hash({**versions, "config": config.model_dump(), "stages": [key]}), config, (stage,))
