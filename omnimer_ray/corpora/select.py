"""Subsets and splits of a corpus: limit and folds, by hashes of clip and video names, so independent of any order."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from omnimer_ray.config import DevelopmentPart, Modality, ObservedConfig, RunConfig, ThinkerConfig
from omnimer_ray.corpora.clips import Clip, Corpus, Split
from omnimer_ray.errors import ConfigError


def limited(corpus: Corpus, limit: int) -> Corpus:
    """At most `limit` clips over all splits, with the shares of splits and of main labels kept to the nearest clip."""
    if limit < 1:
        raise ConfigError(f"limit {limit} must be 1 or more clips")
    if limit >= len(corpus.clips):
        return corpus
    kept: set[str] = set()
    for side, num_clips in _portions(corpus.clips, lambda clip: clip.split, limit):
        for same, few in _portions(side, _label, num_clips):
            kept.update(clip.id for clip in sorted(same, key=lambda clip: _hash(clip.id))[:few])
    return replace(corpus, clips=tuple(clip for clip in corpus.clips if clip.id in kept))


def folded(corpus: Corpus, folds: int | None, fold: int | None) -> Corpus:
    """The corpus with the splits of `fold_splits`."""
    return replace(corpus, clips=fold_splits(corpus.clips, folds, fold, corpus.reported))


def pooled_splits(reported: Split) -> tuple[Split, ...]:
    """The parts that folds are cut from: all but a test part that is not the reported one."""
    return ("train", "validation") if reported == "validation" else ("train", "validation", "test")


def fold_splits(clips: Sequence[Clip], folds: int | None, fold: int | None, reported: Split = "validation") -> tuple[Clip, ...]:
    """The parts of `pooled_splits` together, cut into folds of whole source videos; the clips of `fold` become the reported part, the others train.

    Each video is assigned to the fold that is then closest to an even share of every label, videos with the most influence first. Other clips
    keep their split.
    """
    if folds is None or fold is None or not 0 <= fold < folds:
        raise ConfigError(f"fold {fold} does not fit folds {folds}; give both, with 0 <= fold < folds")
    pooled = [clip for clip in clips if clip.split in pooled_splits(reported)]
    num_videos = len({clip.source_video for clip in pooled})
    if not 2 <= folds <= num_videos:
        raise ConfigError(f"folds {folds} must be from 2 to {num_videos}, the number of source videos")
    fold_of = _assigned(pooled, folds)
    return tuple(
        replace(clip, split=reported if fold_of[clip.source_video] == fold else "train") if clip.split in pooled_splits(reported) else clip
        for clip in clips
    )


def development_splits(clips: Sequence[Clip], parts: DevelopmentPart) -> tuple[Clip, ...]:
    """The training clips, one of `parts` parts of their source videos as development; no clip of any other split.

    The parts are balanced as folds are; the one whose labels are closest to an even share is chosen. 'own': the validation part of a corpus
    that reports its test part.
    """
    if parts == "own":
        kept = [clip for clip in clips if clip.split in ("train", "validation", "development")]
        return tuple(clip if clip.split == "train" else replace(clip, split="development") for clip in kept)
    training = [clip for clip in clips if clip.split == "train"]
    num_videos = len({clip.source_video for clip in training})
    if not 2 <= parts <= num_videos:
        raise ConfigError(f"development {parts} must be from 2 to {num_videos}, the number of training source videos")
    part_of = _assigned(training, parts)
    counts = Counter((part_of[clip.source_video], _label(clip)) for clip in training)
    total = Counter(_label(clip) for clip in training)
    excess = [sum((parts * counts[part, label] / total[label] - 1) ** 2 for label in total) for part in range(parts)]
    held_out = excess.index(min(excess))
    return tuple(replace(clip, split="development") if part_of[clip.source_video] == held_out else clip for clip in training)


def choosing_clips(clips: Sequence[Clip], parts: DevelopmentPart) -> tuple[Clip, ...]:
    """The clips that a search may see."""
    return tuple(clip for clip in clips if clip.split in (("train", "validation") if parts == "own" else ("train",)))


def evaluated_split(config: RunConfig) -> Split:
    """The split that a run is evaluated on."""
    return config.corpus.reported if config.corpus.development is None else "development"


def splits_of(config: RunConfig, clips: Sequence[Clip]) -> list[Clip]:
    """The clips with the splits that a run sees: its fold's, or train and development; with `folds` but no `fold`, every clip that some fold trains on."""
    folds, fold = config.corpus.folds, config.corpus.fold
    if isinstance(config, ThinkerConfig) and config.supervision.gold == "fused":
        clips = [_with_fused_golds(clip) if clip.split == "train" else clip for clip in clips]
    if config.corpus.development is not None:
        return list(development_splits(clips, config.corpus.development))
    if folds is None:
        return list(clips)
    if fold is None:
        return [replace(clip, split="train") if clip.split in pooled_splits(config.corpus.reported) else clip for clip in clips]
    return list(fold_splits(clips, folds, fold, config.corpus.reported))


def _with_fused_golds(clip: Clip) -> Clip:
    return replace(clip, text_sentiment=clip.sentiment, video_sentiment=clip.sentiment, audio_sentiment=clip.sentiment)


def fraction_of(clips: Sequence[Clip], config: RunConfig) -> list[Clip]:
    """The clips of a run's fraction of source videos, drawn by hash; at least one video. A smaller fraction is a part of a larger one."""
    videos = sorted({clip.source_video for clip in clips}, key=lambda video: _hash(f"{config.seed}|{video}"))
    kept = set(videos[: math.ceil(config.train_fraction * len(videos) - 1e-9)])
    return [clip for clip in clips if clip.source_video in kept]


def seen_modalities(clip: Clip, modalities: Sequence[Modality], observed: ObservedConfig) -> tuple[Modality, ...]:
    """The modalities of a clip, of those that a run was trained with, that its evaluation shows: missing by hash, so the same clips for every method, and more at a higher rate.

    A clip that would lose all of them keeps the one with the highest hash.
    """
    shown = [modality for modality in modalities if modality in observed.modalities]
    shares = {modality: int(_hash(f"{observed.draw}|{clip.id}|{modality}")[:13], 16) / 16**13 for modality in shown}
    kept = tuple(modality for modality in shown if shares[modality] >= observed.missing_rate)
    return kept or (max(shown, key=lambda modality: shares[modality]),)


def _assigned(clips: Sequence[Clip], folds: int) -> dict[str, int]:
    """Each source video's fold: greedy, the smallest sum over labels of squared excess over an even share."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        labels[clip.source_video][_label(clip)] += 1
    total = sum(labels.values(), Counter[str]())
    weight = {video: sum(count / total[label] for label, count in counts.items()) for video, counts in labels.items()}
    filled = [Counter[str]() for _ in range(folds)]
    fold_of = {}
    for video in sorted(labels, key=lambda video: (-weight[video], _hash(video))):
        costs = [
            sum(count / total[label] * (2 * filled[fold][label] + count) / total[label] for label, count in labels[video].items())
            for fold in range(folds)
        ]
        best = min(range(folds), key=lambda fold: (costs[fold], sum(filled[fold].values()), fold))
        fold_of[video] = best
        filled[best] += labels[video]
    return fold_of


def _label(clip: Clip) -> str:
    """Labels by which the parts are balanced."""
    return str(clip.emotion or clip.sentiment)


def _portions(clips: Sequence[Clip], key: Callable[[Clip], str], total: int) -> list[tuple[list[Clip], int]]:
    """Groups of clips by key, each with its share of `total`, by largest remainders."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[key(clip)].append(clip)
    counts = {name: len(group) * total // len(clips) for name, group in groups.items()}
    order = sorted(groups, key=lambda name: (-(len(groups[name]) * total % len(clips)), name))
    for name in order[: total - sum(counts.values())]:
        counts[name] += 1
    return [(groups[name], counts[name]) for name in sorted(groups)]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
