"""MMEF-Net's label refinement (section III-D.1): a linear probe of each modality votes with the annotation on each training clip.

The probes are cross-fitted: none votes on a clip of a source video that it was fitted on. Only training labels change; gold labels of evaluation never do.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from omnimer_ray.config import Modality
from omnimer_ray.corpora.clips import LABELS, Clip
from omnimer_ray.errors import ConfigError
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion import linear
from omnimer_ray.fusion_config import FusionConfig

STRENGTH, FOLDS = 0.1, 3  # of the probes [A]


class Refined(NamedTuple):
    """A training clip with its votes."""

    clip: str
    annotated: str
    label: str  # the annotated one unless more than half of all votes, the annotation's included, name another
    votes: dict[Modality, str]

    @property
    def is_flagged(self) -> bool:
        """Whether no probe names the annotated label: to be looked at by a person."""
        return self.annotated not in self.votes.values()


def refined(config: FusionConfig, stores: Mapping[Modality, FeatureStore], training: Sequence[Clip]) -> list[Refined]:
    """The training clips with their refined labels. Raises ConfigError if there are too few source videos."""
    from sklearn.model_selection import StratifiedGroupKFold

    golds, videos = [str(clip.label(config.task)) for clip in training], [clip.source_video for clip in training]
    if len(set(videos)) < FOLDS or len(set(golds)) < 2:
        raise ConfigError(
            f"refine_labels needs training clips of two labels and of {FOLDS} source videos, and there are {len(set(golds))} and {len(set(videos))}; take more clips"
        )
    votes: list[dict[Modality, str]] = [{} for _ in training]
    gold = np.array(golds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a label with fewer clips than folds
        folds = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=config.seed).split(gold, gold, videos))
    for modality, store in sorted(stores.items()):
        values, _ = linear.summaries({modality: store}, training)
        for train, held_out in folds:
            fitted = linear.fit_once(config, values[train], gold[train], STRENGTH)
            places = fitted.probabilities(values[held_out], np.ones_like(values[held_out], bool)).argmax(1)
            for place, label in zip(held_out, places, strict=True):
                votes[int(place)][modality] = LABELS[config.task][label]
    return [Refined(clip.id, gold_, _majority(gold_, one), one) for clip, gold_, one in zip(training, golds, votes, strict=True)]


def _majority(annotated: str, votes: Mapping[Modality, str]) -> str:
    label, count = Counter([annotated, *votes.values()]).most_common(1)[0]
    return label if 2 * count > len(votes) + 1 else annotated
