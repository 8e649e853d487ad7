"""Planning half of the fusion networks: a run is a stage that reads features, or one of each member of a late fusion."""

from __future__ import annotations

from omnimer_ray.config import RunConfig, content_hash
from omnimer_ray.feature_config import without_places
from omnimer_ray.fusion_config import FusionConfig, LateFusionConfig, resolve_fusion, resolve_late
from omnimer_ray.media.load import MEDIA_VERSION
from omnimer_ray.planning.units import Run, Stage

FUSION_VERSION = 1  # raise it when code changes what the same config computes
VERSIONS = {"recipe": FUSION_VERSION, "media": MEDIA_VERSION}
EVALUATION = {"observed", "ensemble"}  # settings without an effect on the network


def fusion_run(config: FusionConfig) -> Run:
    """Make the run of a config, in canonical form."""
    config = resolve_fusion(config)
    return _run(config, _stages(config))


def late_run(config: LateFusionConfig) -> Run:
    """The same of a late fusion: a stage of each member, which the member's own run shares."""
    config = resolve_late(config)
    return _run(config, tuple(stage for member in config.members.values() for stage in _stages(member)))


def _run(config: RunConfig, stages: tuple[Stage, ...]) -> Run:
    about = {**VERSIONS, "method": config.method, "config": without_places(config.model_dump()), "stages": [stage.key for stage in stages]}
    return Run(content_hash(about), config, stages)


def _stages(config: FusionConfig) -> tuple[Stage, ...]:
    """The network's stage, and that of the ensemble on its fused features."""
    about = {**VERSIONS, "method": config.method, "settings": without_places(config.model_dump(exclude=EVALUATION))}
    features = tuple(config.features[name] for name in config.modalities)
    network = Stage(content_hash(about), config, (config.task,), 0, None, features=features)
    if config.ensemble is None:
        return (network,)
    key = content_hash({**about, "ensemble": config.ensemble.model_dump(), "predecessor": network.key})
    return (network, Stage(key, config, (config.task,), 1, network.key, features=features))
