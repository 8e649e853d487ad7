"""Features of clips as a fusion network takes them: shortened, and standardised by what the training clips hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from omnimer_ray.config import Modality
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ResultsError
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion.sequences import Inputs, padded, shortened


class Standard(NamedTuple):
    """Mean and standard deviation of each value over all steps of the training clips, (D,)."""

    mean: torch.Tensor
    scale: torch.Tensor  # 1 where a value never changes


class Reader:
    """Reads each clip's features once."""

    def __init__(self, stores: Mapping[Modality, FeatureStore], max_steps: int, standardise: bool = True) -> None:
        self.stores, self.max_steps, self.standardise = stores, max_steps, standardise
        self.standards: dict[Modality, Standard] = {}
        self._read: dict[tuple[str, Modality], torch.Tensor] = {}

    def fit(self, training: Sequence[Clip]) -> None:
        """Take the standards from these clips. Raises ResultsError if their widths differ."""
        for modality in self.stores:
            sequences = [self._shortened(clip, modality) for clip in training]
            widths = {sequence.shape[1]: clip.id for clip, sequence in zip(training, sequences, strict=True)}
            if len(widths) > 1:
                folder = self.stores[modality].folder
                about = ", ".join(f"{width} of clip {clip}" for width, clip in sorted(widths.items()))
                raise ResultsError(f"{folder} holds features of different widths: {about}; delete it, and the same command makes it again")
            steps = torch.cat(sequences)
            scale = steps.std(0, correction=0)
            one, other = torch.zeros_like(scale), torch.ones_like(scale)
            self.standards[modality] = (
                Standard(steps.mean(0), torch.where(scale > 0, scale, other)) if self.standardise else Standard(one, other)
            )

    @property
    def widths(self) -> dict[Modality, int]:
        """D of each modality."""
        return {modality: len(standard.mean) for modality, standard in self.standards.items()}

    def inputs(self, clips: Sequence[Clip], seen: Sequence[Sequence[Modality]]) -> Inputs:
        """A batch of clips, each with the modalities that are `seen` of it."""
        return {
            modality: padded([self._standardised(clip, modality) for clip in clips], [modality not in shown for shown in seen])
            for modality in self.stores
        }

    def _standardised(self, clip: Clip, modality: Modality) -> torch.Tensor:
        mean, scale = self.standards[modality]
        return (self._shortened(clip, modality) - mean) / scale

    def _shortened(self, clip: Clip, modality: Modality) -> torch.Tensor:
        key = (clip.id, modality)
        if key not in self._read:
            self._read[key] = shortened(torch.from_numpy(self.stores[modality].read(clip)), self.max_steps)
        return self._read[key]
