"""A part of a corpus, or other sides: limited and folded, by hashes of clip and video names, so independent of any order."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.errors import ConfigError


def limited(corpus: Corpus, limit: int) -> Corpus:
    """At most `limit` clips over all splits, with the shares of splits and of main labels kept to the nearest clip."""
    if limit < 1:
        raise ConfigError(f"limit {limit} must be 1 or more clips")
    if limit >= len(corpus.clips):
        return corpus
    strata: dict[tuple[str, str], list[Clip]] = defaultdict(list)
    for clip in corpus.clips:
        strata[clip.split, str(clip.emotion or clip.sentiment)].append(clip)
    counts = _largest_remainders({name: len(clips) for name, clips in strata.items()}, limit)
    kept = {clip.id for name, clips in strata.items() for clip in sorted(clips, key=lambda clip: _hash(clip.id))[: counts[name]]}
    return replace(corpus, clips=tuple(clip for clip in corpus.clips if clip.id in kept))


def folded(corpus: Corpus, folds: int | None, fold: int | None) -> Corpus:
    """Train and validation together, cut into folds of whole source videos; the clips of `fold` become validation, the others train.

    Videos go, those with rare labels and many clips first, to the fold that then stays most like the whole. Test clips keep their side.
    """
    open_clips = [clip for clip in corpus.clips if clip.split != "test"]
    videos = {clip.source_video for clip in open_clips}
    if folds is None or fold is None or not 0 <= fold < folds:
        raise ConfigError(f"fold {fold} does not fit folds {folds}; give both, with 0 <= fold < folds")
    if not 2 <= folds <= len(videos):
        raise ConfigError(f"folds {folds} must be from 2 to the number of source videos, {len(videos)}")
    held_out = _assigned(open_clips, folds)
    clips = tuple(
        clip if clip.split == "test" else replace(clip, split="validation" if held_out[clip.source_video] == fold else "train")
        for clip in corpus.clips
    )
    return replace(corpus, clips=clips)


def _assigned(clips: Sequence[Clip], folds: int) -> dict[str, int]:
    """Each source video's fold: greedy, the smallest sum over labels of squared excess over an even share."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        labels[clip.source_video][str(clip.emotion or clip.sentiment)] += 1
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


def _largest_remainders(sizes: dict[tuple[str, str], int], total: int) -> dict[tuple[str, str], int]:
    whole = sum(sizes.values())
    counts = {name: size * total // whole for name, size in sizes.items()}
    order = sorted(sizes, key=lambda name: (-(sizes[name] * total % whole), name))
    for name in order[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
