"""Features are kept by content, made once, checked when they are read, and the same whoever reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from making import clip, tiny_config

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import MachineError, MediaError
from omnimer_ray.feature_config import CharNgrams, Feature, tower_features
from omnimer_ray.features.store import FeatureStore
from omnimer_ray.features.vision_outputs import VisionOutputs

TEXT = Feature(encoder=CharNgrams(size=8), view="text")
CLIPS = [clip("a_0"), clip("a_1"), clip("b_0", text="ini kalimat a_0")]  # two say the same


def ignore(done: int, total: int) -> None: ...


def filled(folder: Path, made: list[str]) -> FeatureStore:
    store = FeatureStore(folder, TEXT, folder)

    def make(one: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        made.append(one.id)  # type: ignore[attr-defined]
        return np.full((2, 8), len(made), np.float32)

    store.fill(CLIPS, make, ignore)
    return store


def test_clips_with_the_same_contents_share_an_entry_that_is_made_once(tmp_path: Path) -> None:
    made: list[str] = []
    store = filled(tmp_path, made)
    assert made == ["a_0", "a_1"]
    assert store.missing(CLIPS) == []
    filled(tmp_path, made)
    assert made == ["a_0", "a_1"]
    assert np.array_equal(store.read(CLIPS[2]), np.ones((2, 8)))
    assert not list(store.folder.glob("*.lock"))
    assert json.loads((store.folder / "feature.json").read_text()) == TEXT.model_dump()


@pytest.mark.parametrize("fault", ["absent", "damaged"])
def test_an_entry_that_cannot_be_read_is_made_again(fault: str, tmp_path: Path) -> None:
    made: list[str] = []
    store = filled(tmp_path, made)
    place = store.place(CLIPS[1])
    place.unlink() if fault == "absent" else place.write_bytes(place.read_bytes()[:-3])
    with pytest.raises(MachineError, match=r"a_1: .* is absent or damaged; the same command makes it again"):
        store.read(CLIPS[1])
    assert store.missing(CLIPS) == [CLIPS[1]]
    filled(tmp_path, made)
    assert made == ["a_0", "a_1", "a_1"]


@pytest.mark.parametrize("array", [np.full((2, 8), np.nan, np.float32), np.zeros((0, 8), np.float32), np.zeros(8, np.float32)])
def test_an_entry_that_is_empty_or_not_finite_is_refused(array: np.ndarray, tmp_path: Path) -> None:  # type: ignore[type-arg]
    store = FeatureStore(tmp_path, TEXT, tmp_path)
    with pytest.raises(
        MediaError,
        match=r"a_0: what char_ngrams makes of its text has shape .*, or is not finite; look at the clip, or list it under 'exclude'",
    ):
        store.fill(CLIPS, lambda one: array, ignore)
    assert store.missing(CLIPS) == CLIPS


def test_bf16_is_read_as_the_same_numbers(tmp_path: Path) -> None:
    values = torch.randn(3, 5).bfloat16()
    store = FeatureStore(tmp_path, TEXT, tmp_path)
    store.fill(CLIPS[:1], lambda one: values.view(torch.uint16).numpy(), ignore)
    assert np.array_equal(store.read(CLIPS[0]), values.float().numpy())


def test_the_vision_tower_of_the_thinker_is_the_same_entry(
    recipe: ThinkerConfig, corpus: Corpus, tmp_path: Path, shared_cache: Path
) -> None:
    feature = tower_features(recipe.base, recipe.media)["video"]
    store, outputs = FeatureStore(tmp_path, feature, shared_cache), VisionOutputs(tmp_path, recipe, shared_cache)
    assert store.place(corpus.clips[0]) == outputs.place(corpus.clips[0])


def test_entries_of_sound_go_by_the_file_that_it_is_read_from(
    corpus: Corpus, recipe: ThinkerConfig, tmp_path: Path, shared_cache: Path
) -> None:
    one, other = (
        FeatureStore(tmp_path, tower_features(recipe.base, recipe.media.model_copy(update={"audio_source": source}))["audio"], shared_cache)
        for source in ("file", "track")
    )
    assert one.place(corpus.clips[0]).name != other.place(corpus.clips[0]).name
    assert one.place(corpus.clips[0]) != one.place(corpus.clips[1])


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    recipe = tiny_config()
    store = FeatureStore(tmp_path, tower_features(recipe.base, recipe.media)["audio"], tmp_path)
    assert store.missing(CLIPS[:1]) == CLIPS[:1]  # nothing is kept yet
    store.folder.mkdir(parents=True)
    with pytest.raises(MachineError, match=r"a_0: /corpus/a_0.mp4: it is absent"):
        store.missing(CLIPS[:1])
