"""Planted wrong labels of training clips are found by probes that were not fitted on their source video; few right ones are changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import clip, tiny_config

from omnimer_ray.config import Modality
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ConfigError
from omnimer_ray.feature_config import CharNgrams, Feature, Prosody
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.fusion.refinement import refined
from omnimer_ray.fusion_config import FusionConfig, Mmef, on_features

SENTIMENTS = ["negative", "neutral", "positive"]
TRUE = {f"v{number // 4}_{number}": SENTIMENTS[number % 3] for number in range(120)}
WRONG = {name: SENTIMENTS[(SENTIMENTS.index(label) + 1) % 3] for place, (name, label) in enumerate(TRUE.items()) if place % 11 == 0}
CLIPS = [clip(name, sentiment=WRONG.get(name, label)) for name, label in TRUE.items()]


class Given(FeatureStore):
    """A store whose entries go by the clip's name."""

    def content(self, clip: Clip) -> str:
        return clip.id


def stores(folder: Path, spread: float = 0.4) -> dict[Modality, FeatureStore]:
    media, found = tiny_config().media, dict[Modality, FeatureStore]()
    features: dict[Modality, Feature] = {
        "text": Feature(encoder=CharNgrams(), view="text"),
        "audio": Feature(encoder=Prosody(), view="audio", media=media),
    }
    features["video"] = Feature(encoder=Prosody(), view="audio", media=media.model_copy(update={"max_sec": 2.0}))
    for place, (modality, feature) in enumerate(features.items()):
        draw = np.random.default_rng(place)
        found[modality] = Given(folder, feature, folder)

        def make(one: Clip, draw: Any = draw) -> Any:
            around = np.eye(3)[SENTIMENTS.index(TRUE[one.id])]
            return (around + spread * draw.normal(size=(4, 3))).astype(np.float32)

        found[modality].fill(CLIPS, make, lambda done, total: None)
    return found


def config() -> FusionConfig:
    return on_features(tiny_config(), Mmef(), refine_labels=True)


def test_planted_wrong_labels_are_found_and_few_right_ones_are_changed(tmp_path: Path) -> None:
    found = {one.clip: one for one in refined(config(), stores(tmp_path), CLIPS)}
    mended = sum(found[name].label == TRUE[name] for name in WRONG)
    spoiled = sum(one.label != TRUE[name] for name, one in found.items() if name not in WRONG)
    assert len(WRONG) == 11
    assert mended >= 10
    assert spoiled == 0
    assert sum(found[name].is_flagged for name in WRONG) >= 10
    assert all(set(one.votes) == {"text", "audio", "video"} for one in found.values())
    again = refined(config(), stores(tmp_path), CLIPS)
    assert list(found.values()) == again


def test_a_label_is_changed_by_more_than_half_of_the_votes_alone(tmp_path: Path) -> None:
    for one in refined(config(), stores(tmp_path, spread=2.5), CLIPS):
        against = [label for label in one.votes.values() if label != one.annotated]
        changed = len(against) == 3 and len(set(against)) == 1  # three of four votes
        assert (one.label != one.annotated) == changed
        assert one.is_flagged == (len(against) == 3)


def test_labels_that_say_nothing_are_left_alone(tmp_path: Path) -> None:
    """With features of noise the votes follow chance: agreement of all three on one other label is rare."""
    found = refined(config(), stores(tmp_path, spread=50.0), CLIPS)
    assert sum(one.label != one.annotated for one in found) < 30


def test_too_few_videos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="refine_labels needs training clips of two labels and of 3 source videos, and there are 3 and 1; take more clips"
    ):
        refined(config(), stores(tmp_path), CLIPS[1:4])
