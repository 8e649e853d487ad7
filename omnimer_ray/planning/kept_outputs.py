"""Size of the vision tower's kept outputs, and whether they are kept: within the profile's limit and the free space of the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.features.store import FEATURES
from omnimer_ray.machine.flops import ASSUMED_SEC, typical_item
from omnimer_ray.machine.memory import BYTES, GIB
from omnimer_ray.model.dimensions import Shape, is_vision_frozen
from omnimer_ray.planning.plan import Plan
from omnimer_ray.planning.setup import Sweep


def planned(sweep: Sweep) -> str:
    """The line of a plan, by arithmetic; empty for a sweep without kept outputs."""
    clips = len(sweep.corpus.clips) + sum(len(other.scored) for other in sweep.others)
    if not sweep.profile.features_gib or not (configs := distinct(sweep.plan)):
        return ""
    tokens = [(config, clips * typical_item(config).video) for config in configs]
    low = sum(_gib(sweep, config, number) for config, number in tokens)
    high = sum(_gib(sweep, config, number * config.media.max_pixels // config.media.min_pixels) for config, number in tokens)
    size = f"{low:.2g} GiB" if high == low else f"{low:.2g} to {high:.2g} GiB"
    return (
        f"the frozen tower sees each of {clips} clips once; its outputs, {size} by arithmetic for clips of {ASSUMED_SEC:g} s, are kept "
        f"up to the profile's features_gib {sweep.profile.features_gib:g}, in {folder(sweep)}"
    )


def distinct(plan: Plan) -> list[ThinkerConfig]:
    """A config of each setting that determines outputs, of the runs whose vision tower has no LoRA."""
    frozen = [config for config in plan.thinkers if is_vision_frozen(config.lora)]
    return list({(config.media.model_dump_json(), config.base.precision): config for config in frozen}.values())


def fit(sweep: Sweep, configs: list[tuple[ThinkerConfig, int]], log: Callable[[str], None]) -> bool:
    """Whether outputs are kept; a line says why if they do not fit. `configs`: with the video tokens of all clips."""
    limit, there = sweep.profile.features_gib, folder(sweep)
    if not limit or not configs:
        return False
    gib = sum(_gib(sweep, config, tokens) for config, tokens in configs)
    existing = next(parent for parent in (there, *there.parents) if parent.exists())
    kept = sum(file.stat().st_size for file in there.glob("*/*.safetensors")) / GIB
    free = shutil.disk_usage(existing).free / GIB + kept
    if gib <= min(limit, free):
        return True
    reason = f"over the profile's features_gib {limit:g}" if gib > limit else f"and {existing} has {free:.2g} free"
    log(f"vision   outputs are not kept: they take {gib:.2g} GiB, {reason}; the tower runs at every step")
    return False


def folder(sweep: Sweep) -> Path:
    """The folder that all sweeps of these results share."""
    return sweep.request.results / FEATURES


def _gib(sweep: Sweep, config: ThinkerConfig, tokens: int) -> float:
    width = sweep.base.width or Shape().width  # the 7B's, of a base whose width is not known before it is downloaded
    return tokens * width * BYTES[config.base.precision] / GIB
