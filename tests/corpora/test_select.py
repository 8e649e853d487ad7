"""Limits keep shares; folds keep source videos whole and labels even; neither depends on the order of clips."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from making import tiny_config

from omnimer_ray.corpora import indomer, load
from omnimer_ray.corpora.assembly import Reading
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.corpora.generated import mini
from omnimer_ray.corpora.generated.plan import plan
from omnimer_ray.corpora.generated.recipe import MiniRecipe
from omnimer_ray.corpora.select import (
    choosing_clips,
    development_splits,
    evaluated_split,
    fold_splits,
    folded,
    fraction_of,
    limited,
    seen_modalities,
    splits_of,
)
from omnimer_ray.errors import ConfigError


@pytest.fixture
def corpus() -> Corpus:
    clips = tuple(
        Clip(item.id, str(item.video), item.topic, item.split, item.text, None, item.emotion, None, None, None, None, None)
        for item in plan(MiniRecipe())
    )
    return Corpus("mini", clips, "f")


def shuffled(corpus: Corpus) -> Corpus:
    return replace(corpus, clips=tuple(Random(1).sample(corpus.clips, len(corpus.clips))))


def test_limit_keeps_shares_of_splits_and_labels(corpus: Corpus) -> None:
    part = limited(corpus, 64)
    assert Counter(clip.split for clip in part.clips) == Counter(train=40, validation=24)
    for split in ("train", "validation"):
        all_counts, counts = (Counter(clip.emotion for clip in found.split(split)) for found in (corpus, part))
        assert all(abs(counts[name] - all_counts[name] / 4) < 1 for name in all_counts)
    assert part.fingerprint == corpus.fingerprint


def test_limit_does_not_depend_on_order_and_grows(corpus: Corpus) -> None:
    names = {clip.id for clip in limited(corpus, 64).clips}
    assert names == {clip.id for clip in limited(shuffled(corpus), 64).clips}
    positions = [corpus.clips.index(clip) for clip in limited(corpus, 64).clips]
    assert positions == sorted(positions)
    assert limited(corpus, 1000) is corpus
    assert len(limited(corpus, 1).clips) == 1


def test_limit_must_be_positive(corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match="limit 0 must be 1 or more clips"):
        limited(corpus, 0)


def test_folds_partition_source_videos(corpus: Corpus) -> None:
    held_out: Counter[str] = Counter()
    for fold in range(5):
        clips = folded(corpus, 5, fold).clips
        sides = {split: {clip.source_video for clip in clips if clip.split == split} for split in ("train", "validation")}
        assert not sides["train"] & sides["validation"]
        held_out.update(clip.id for clip in clips if clip.split == "validation")
        assert 40 <= sum(clip.split == "validation" for clip in clips) <= 64
    assert set(held_out.values()) == {1}
    assert len(held_out) == len(corpus.clips)


def test_folds_are_balanced_by_label(corpus: Corpus) -> None:
    counts = [Counter(clip.emotion for clip in folded(corpus, 4, fold).split("validation")) for fold in range(4)]
    assert all(max(count[name] for count in counts) - min(count[name] for count in counts) <= 4 for name in ("surprise", "fear", "disgust"))
    assert all(count[name] > 0 for count in counts for name in ("surprise", "fear", "disgust", "anger"))


def test_folds_do_not_depend_on_order(corpus: Corpus) -> None:
    first = {clip.id: clip.split for clip in folded(corpus, 3, 1).clips}
    assert first == {clip.id: clip.split for clip in fold_splits(shuffled(corpus).clips, 3, 1)}


def test_test_clips_keep_their_side(corpus: Corpus) -> None:
    clips = tuple(replace(clip, split="test") if clip.source_video == "1" else clip for clip in corpus.clips)
    assert {clip.split for clip in fold_splits(clips, 3, 0) if clip.source_video == "1"} == {"test"}


@pytest.mark.parametrize(
    ("folds", "fold", "pattern"),
    [
        (5, 5, "fold 5 does not fit folds 5; give both, with 0 <= fold < folds"),
        (None, 1, "fold 1 does not fit folds None"),
        (5, None, "fold None does not fit folds 5"),
        (1, 0, "folds 1 must be from 2 to 44, the number of source videos"),
        (45, 0, "folds 45 must be from 2 to 44"),
    ],
)
def test_folds_that_do_not_fit(corpus: Corpus, folds: int | None, fold: int | None, pattern: str) -> None:
    with pytest.raises(ConfigError, match=pattern):
        folded(corpus, folds, fold)


def test_a_development_part_is_whole_videos_of_train_and_nothing_else(corpus: Corpus) -> None:
    clips = development_splits(corpus.clips, 4)
    assert {clip.id for clip in clips} == {clip.id for clip in corpus.split("train")}, "no validation clip under any name"
    sides = {split: {clip.source_video for clip in clips if clip.split == split} for split in ("train", "development")}
    assert not sides["train"] & sides["development"]
    assert [len(sides[name]) for name in ("train", "development")] == [15, 5]


def test_a_development_part_is_balanced_and_does_not_depend_on_order(corpus: Corpus) -> None:
    clips = development_splits(corpus.clips, 4)
    whole, part = (Counter(clip.emotion for clip in found) for found in (clips, [clip for clip in clips if clip.split == "development"]))
    assert all(abs(part[label] - whole[label] / 4) <= 2 for label in whole)
    assert {clip.id: clip.split for clip in clips} == {clip.id: clip.split for clip in development_splits(shuffled(corpus).clips, 4)}


@pytest.mark.parametrize("parts", [1, 21])
def test_development_parts_that_do_not_fit(corpus: Corpus, parts: int) -> None:
    with pytest.raises(ConfigError, match=f"^development {parts} must be from 2 to 20, the number of training source videos$"):
        development_splits(corpus.clips, parts)


@pytest.fixture(scope="module")
def chinese() -> Corpus:
    return mini.load(MiniRecipe.chinese(), cache=Path("/nowhere"), need_media=False)


def test_a_corpus_with_a_test_part_is_folded_over_all_its_parts(chinese: Corpus) -> None:
    held_out = Counter(clip.id for fold in range(5) for clip in folded(chinese, 5, fold).split("test"))
    assert held_out == Counter(clip.id for clip in chinese.clips)
    first = folded(chinese, 5, 0)
    assert {clip.split for clip in first.clips} == {"train", "test"}
    assert not {clip.source_video for clip in first.split("train")} & {clip.source_video for clip in first.split("test")}


def test_a_search_sees_a_corpus_s_own_development_part_and_no_test_clip(chinese: Corpus) -> None:
    seen = choosing_clips(chinese.clips, "own")
    assert Counter(clip.split for clip in seen) == {"train": 160, "validation": 40}
    parts = development_splits(chinese.clips, "own")
    assert Counter(clip.split for clip in parts) == {"train": 160, "development": 40}
    assert development_splits(parts, "own") == parts, "a trial's worker divides them again"
    assert Counter(clip.split for clip in choosing_clips(chinese.clips, 4)) == {"train": 160}


def test_the_config_says_which_clips_a_run_is_scored_on(chinese: Corpus) -> None:
    config = tiny_config(corpus__reported="test")
    assert evaluated_split(config) == "test"
    assert Counter(clip.split for clip in splits_of(config, chinese.clips)) == {"train": 160, "validation": 40, "test": 80}
    trial = tiny_config(corpus__reported="test", corpus__development="own")
    assert evaluated_split(trial) == "development"
    assert Counter(clip.split for clip in splits_of(trial, chinese.clips)) == {"train": 160, "development": 40}
    shared = tiny_config(corpus__reported="test", corpus__folds=5)
    assert {clip.split for clip in splits_of(shared, chinese.clips)} == {"train"}, "supervision covers every clip that any fold trains on"
    with pytest.raises(ConfigError, match=r"development 'own' needs a corpus that reports its test part; give a number of parts of train"):
        tiny_config(corpus__development="own")


def test_load_limits_then_folds(release: Path, tmp_path: Path) -> None:
    spec = f"indomer:{release}"
    whole = load(spec, cache=tmp_path)
    part = load(spec, cache=tmp_path, limit=12, folds=3, fold=0)
    assert {clip.id for clip in part.clips} == {clip.id for clip in limited(whole, 12).clips}
    assert part.clips == fold_splits(limited(whole, 12).clips, 3, 0)


def test_folds_of_the_release_hold_every_rare_class_evenly(indomer_release: Path, tmp_path: Path) -> None:
    corpus = indomer.read(indomer_release, Reading(cache=tmp_path, need_media=False))
    counts = [Counter(clip.emotion for clip in folded(corpus, 5, fold).split("validation")) for fold in range(5)]
    assert [sum(count.values()) for count in counts] == [387, 393, 388, 389, 387]
    assert all(1 <= count["surprise"] <= 2 and 16 <= count["anger"] <= 17 and 34 <= count["sadness"] <= 35 for count in counts)


def test_a_fraction_of_train_is_whole_videos_and_a_part_of_a_larger_one(corpus: Corpus) -> None:
    training = corpus.split("train")
    videos = {clip.source_video for clip in training}
    parts = [fraction_of(training, tiny_config(train_fraction=fraction)) for fraction in (0.001, 0.25, 0.5, 1.0)]
    assert [len({clip.source_video for clip in part}) for part in parts] == [1, len(videos) // 4, len(videos) // 2, len(videos)]
    for smaller, larger in pairwise(parts):
        kept = {clip.source_video for clip in smaller}
        assert smaller == [clip for clip in larger if clip.source_video in kept]
    assert fraction_of(training, tiny_config(train_fraction=0.5, seed=1)) != parts[2]
    assert fraction_of(training[::-1], tiny_config(train_fraction=0.5))[::-1] == parts[2]


def test_modalities_are_missing_at_the_rate_nested_and_never_all(corpus: Corpus) -> None:
    def seen(rate: float, draw: int = 0, **changes: object) -> list[tuple[str, ...]]:
        config = tiny_config(observed__missing_rate=rate, observed__draw=draw, **changes)
        return [seen_modalities(clip, config.modalities, config.observed) for clip in corpus.clips]

    assert set(seen(0.0)) == {("audio", "text", "video")}
    rates = [seen(rate) for rate in (0.1, 0.3, 0.5, 0.7)]
    for fewer, more in pairwise(rates):
        assert all(set(after) <= set(before) for before, after in zip(fewer, more, strict=True))
    assert all(found for rate in rates for found in rate)
    for rate, found in zip((0.1, 0.3, 0.5), rates, strict=False):
        lost = 3 * len(found) - sum(map(len, found)) + sum(len(one) == 1 for one in found) * rate  # the one that is kept
        assert abs(lost / (3 * len(found)) - rate) < 0.08
    assert seen(0.5, draw=1) != rates[2]
    assert seen(0.5, seed=3) == rates[2], "the same clips for every seed"
    assert all(set(one) <= {"text", "video"} and one for one in seen(0.6, modalities={"text", "video"}))
    assert set(seen(0.0, observed__modalities={"audio"})) == {("audio",)}
