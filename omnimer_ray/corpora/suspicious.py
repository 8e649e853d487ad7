"""Findings that may be right but mislead: texts and videos in both splits, classes with one clip or one video."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from omnimer_ray.corpora.check import words
from omnimer_ray.corpora.clips import LABELS, TASKS, Clip, Corpus, named

MOST_LINES = 20  # of one kind
RUN = 4  # words; two videos share text if they share runs of this many words
SHARED = 0.10  # of the shorter video's runs: near-duplicates


def suspicious(corpus: Corpus) -> list[str]:
    """Every finding in one line; of many of a kind the first MOST_LINES, and how many more there are."""
    kinds = (("texts on both sides", _texts_on_both_sides(corpus.clips)), ("near-duplicate source videos", _near_duplicates(corpus.clips)))
    return [*(line for name, found in kinds for line in _first(name, list(found))), *_thin_classes(corpus)]


def _first(name: str, lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"{name}: {more} more, {len(lines)} in all"] if more > 0 else lines


def _texts_on_both_sides(clips: Sequence[Clip]) -> Iterator[str]:
    verbatim = _shared(clips, lambda clip: clip.text)
    for found in verbatim:
        yield f"text on both sides: {_quoted(found[0])} in {named(found)}"
    for found in _shared(clips, lambda clip: " ".join(words(clip.text))):
        if found not in verbatim:
            yield f"text on both sides after normalising: {_quoted(found[0])} in {named(found)}"


def _shared(clips: Sequence[Clip], key: Callable[[Clip], str]) -> list[list[Clip]]:
    """Groups of clips with the same key in more than one split."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[key(clip)].append(clip)
    return [group for text, group in groups.items() if text and len({clip.split for clip in group}) > 1]


def _near_duplicates(clips: Sequence[Clip]) -> Iterator[str]:
    """Pairs of source videos that share many runs of words; two videos that share only one clip's greeting do not count."""
    runs: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    side = {clip.source_video: clip.split for clip in clips}
    for clip in clips:
        text = words(clip.text)
        runs[clip.source_video].update(tuple(text[start : start + RUN]) for start in range(len(text) - RUN + 1))
    videos: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for video, episodes in runs.items():
        for run in episodes:
            videos[run].append(video)
    common = Counter(pair for holders in videos.values() for pair in combinations(holders, 2))
    for (first, second), count in common.most_common():
        share = count / min(len(runs[first]), len(runs[second]))
        if share >= SHARED and count >= 2 * RUN:
            places = f"{first} ({side[first]}) and {second} ({side[second]})"
            yield f"near-duplicate source videos: {places} share {count} runs of {RUN} words, {share:.0%} of the shorter"


def _thin_classes(corpus: Corpus) -> Iterator[str]:
    for split in ("train", "validation", "test"):
        clips = corpus.split(split)
        for task in (task for task in TASKS if any(clip.label(task) for clip in corpus.clips) and clips):
            for label in LABELS[task]:
                yield from _thin(split, f"{task} {label}", [clip for clip in clips if clip.label(task) == label])


def _thin(split: str, label: str, clips: Sequence[Clip]) -> Iterator[str]:
    if not clips:
        yield f"{split}: {label} has no clip; its F1 is 0 whatever is answered"
    elif len(clips) == 1:
        yield f"{split}: {label} has one clip, {clips[0].id}; its F1 is 0 or depends on that clip alone"
    else:
        video, count = Counter(clip.source_video for clip in clips).most_common(1)[0]
        if 2 * count >= len(clips) and count > 1:
            yield f"{split}: {label}: {'all' if count == len(clips) else count} of {len(clips)} clips are from source video {video}"


def _quoted(clip: Clip) -> str:
    return repr(clip.text if len(clip.text) <= 60 else clip.text[:57] + "…")
