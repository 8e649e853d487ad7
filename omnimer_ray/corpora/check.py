"""Statistics of a corpus: the paper's Table II and Figs. 1 and 2 for any corpus, as tables of text."""

from __future__ import annotations

import re
import wave
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import mean
from typing import NamedTuple

from omnimer_ray.corpora.clips import EMOTIONS, MODALITIES, SENTIMENTS, Clip, Corpus

NONE = "–"


class Table(NamedTuple):
    """A title, column names, and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def __str__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.columns))]
        body = [
            "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]
        return "\n".join([self.title, *("  " + line.rstrip() for line in body)])


class Part(NamedTuple):
    """The clips of one split, or all clips."""

    name: str
    clips: Sequence[Clip]


def tables(corpus: Corpus) -> list[Table]:
    """All tables of `check`."""
    parts = [Part("all", corpus.clips)]
    parts += [Part(name, clips) for name in ("train", "validation", "test") if (clips := corpus.split(name))]
    made = [key_statistics(parts), sentiments(parts)]
    made += [emotions(parts)] if any(clip.emotion for clip in corpus.clips) else []
    made += [conflicts(parts)] if any(map(corpus.clips[0].modality_sentiment, MODALITIES)) else []
    return made + ([topics(parts)] if any(clip.topic for clip in corpus.clips) else [])


def key_statistics(parts: Sequence[Part]) -> Table:
    """Table II; words by white space, the vocabulary of lower-cased words of letters (which gives the paper's 4,066)."""
    rows: list[tuple[str, Callable[[Sequence[Clip]], str]]] = [
        ("clips", lambda clips: f"{len(clips):,}"),
        ("source videos", lambda clips: f"{len({clip.source_video for clip in clips}):,}"),
        ("topics", lambda clips: str(len({clip.topic for clip in clips}))),
        ("words a clip", lambda clips: f"{mean(len(clip.text.split()) for clip in clips):.2f}"),
        ("characters a clip", lambda clips: f"{mean(len(clip.text) for clip in clips):.2f}"),
        ("vocabulary", lambda clips: f"{len({word for clip in clips for word in words(clip.text)}):,}"),
        ("seconds a clip", _seconds),
        ("commonest sentiment", lambda clips: _commonest(clip.sentiment for clip in clips)),
        ("commonest emotion", lambda clips: _commonest(clip.emotion for clip in clips)),
    ]
    return Table(
        "Key statistics", ("", *(part.name for part in parts)), [(name, *(value(part.clips) for part in parts)) for name, value in rows]
    )


def sentiments(parts: Sequence[Part]) -> Table:
    """Fig. 2a: clips of each sentiment, by modality."""
    rows = []
    labelled = [name for name in MODALITIES if any(clip.modality_sentiment(name) for clip in parts[0].clips)]
    for seen in ("fused", *labelled):
        for label in SENTIMENTS:
            counts = [sum(_sentiment(clip, seen) == label for clip in part.clips) for part in parts]
            rows.append((f"{seen}: {label}", *(_share(count, len(part.clips)) for count, part in zip(counts, parts, strict=True))))
    return Table("Sentiments", ("", *(part.name for part in parts)), rows)


def emotions(parts: Sequence[Part]) -> Table:
    """Fig. 2b, with the number of source videos that hold each class."""
    rows = []
    for label in EMOTIONS:
        cells = []
        for part in parts:
            clips = [clip for clip in part.clips if clip.emotion == label]
            cells.append(f"{len(clips):,} in {len({clip.source_video for clip in clips})}")
        rows.append((label, *cells))
    return Table("Emotions: clips in source videos", ("", *(part.name for part in parts)), rows)


def conflicts(parts: Sequence[Part]) -> Table:
    """Share of clips whose modality labels contradict the fused label or each other, among clips that have the labels."""
    rows: list[tuple[str, Callable[[Clip], bool]]] = [
        *((f"{name} differs from fused", lambda clip, name=name: clip.modality_sentiment(name) != clip.sentiment) for name in MODALITIES),
        ("the three disagree", lambda clip: len({clip.modality_sentiment(name) for name in MODALITIES}) > 1),
        ("fused equals none of them", lambda clip: all(clip.modality_sentiment(name) != clip.sentiment for name in MODALITIES)),
    ]
    labelled = [[clip for clip in part.clips if clip.sentiment and all(map(clip.modality_sentiment, MODALITIES))] for part in parts]
    cells = [(name, *(_share(sum(map(holds, clips)), len(clips)) for clips in labelled)) for name, holds in rows]
    return Table("Conflicts between modalities", ("", *(part.name for part in parts)), cells)


def topics(parts: Sequence[Part]) -> Table:
    """Fig. 1."""
    counts = [Counter(clip.topic for clip in part.clips) for part in parts]
    names = sorted(counts[0], key=lambda name: (-counts[0][name], name))
    return Table("Topics", ("", *(part.name for part in parts)), [(name, *(str(count[name]) for count in counts)) for name in names])


def words(text: str) -> list[str]:
    """Lower-cased words of letters; a Chinese character is a word."""
    return re.findall(r"[\u4e00-\u9fff]|[^\W\d_\u4e00-\u9fff]+", text.lower())


def _sentiment(clip: Clip, seen: str) -> str | None:
    return clip.sentiment if seen == "fused" else clip.modality_sentiment(seen)


def _share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.1f} %)" if total else NONE


def _commonest(labels: Iterable[str | None]) -> str:
    known = [label for label in labels if label is not None]
    if not known:
        return NONE
    label, count = Counter(known).most_common(1)[0]
    return f"{label} {count / len(known):.3f}"


def _seconds(clips: Sequence[Clip]) -> str:
    """Mean, minimum and maximum, of the clips with a readable wav header; media/ decodes the files."""
    lengths = [length for clip in clips if (length := _wav_sec(clip)) is not None]
    if not lengths:
        return NONE
    known = "" if len(lengths) == len(clips) else f", of {len(lengths)} clips"
    return f"{mean(lengths):.2f} ({min(lengths):.1f}–{max(lengths):.1f}{known})"


def _wav_sec(clip: Clip) -> float | None:
    if clip.audio_path is None:
        return None
    try:
        with wave.open(str(clip.audio_path), "rb") as file:
            return file.getnframes() / file.getframerate()
    except (OSError, EOFError, wave.Error, ZeroDivisionError):
        return None
