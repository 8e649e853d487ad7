"""Outputs of the frozen vision tower in place of pixels: the feature that the Thinker itself reads, T video tokens of the language model's width D."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.feature_config import tower_features
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.features.towers import vision

if TYPE_CHECKING:
    from omnimer_ray.model.inputs import Encoder
    from omnimer_ray.model.thinker import Thinker


class VisionOutputs(FeatureStore):
    """The kept outputs of one base's vision tower under one config's media settings."""

    def __init__(self, features: Path, config: ThinkerConfig, cache: Path) -> None:
        """`features`: parent folder; `cache`: of media."""
        super().__init__(features, tower_features(config.base, config.media)["video"], cache)

    def tokens(self, clip: Clip, num_tokens: int) -> torch.Tensor:
        """Return a clip's entry, (T, D) in the base's precision. Raises as `array`."""
        outputs = torch.from_numpy(self.array(clip, num_tokens))
        return outputs.view(torch.bfloat16) if outputs.dtype == torch.uint16 else outputs

    def fill_from(self, thinker: Thinker, encoder: Encoder, clips: Sequence[Clip], report: Callable[[int, int], None]) -> None:
        """Make the entries that are missing."""
        self.fill(clips, lambda clip: vision(thinker, encoder, clip), report)


def use(outputs: VisionOutputs, thinker: Thinker, encoder: Encoder) -> None:
    """Let the encoder read kept outputs, and remove the tower from the model."""
    encoder.use_outputs(outputs.tokens)
    remove_tower(thinker)


def remove_tower(thinker: Thinker) -> None:
    """The model then takes the tower's outputs in place of pixels."""
    tower = thinker.model.model.visual
    thinker.model.model.visual = _Given(tower.dtype, tower.spatial_merge_size)


class _Given(torch.nn.Module):
    """Stands where the tower was, and returns what it is given."""

    def __init__(self, dtype: torch.dtype, spatial_merge_size: int) -> None:
        super().__init__()
        self.dtype, self.spatial_merge_size = dtype, spatial_merge_size

    def forward(self, outputs: torch.Tensor, grid_thw: torch.Tensor, **named: Any) -> BaseModelOutputWithPooling:
        """`outputs`: (sum T, D)."""
        return BaseModelOutputWithPooling(pooler_output=outputs)
