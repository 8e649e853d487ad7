"""Figures of the corpus: clips by topic, and labels by modality and part (OmniMER, Figs. 1 and 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from analysis.drawing import BLUE, GREY, LINES, gridded, title
from analysis.folder import Results
from omnimer_ray.corpora.clips import LABELS, SENTIMENTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELLED = {"text": "text_sentiment", "audio": "audio_sentiment", "video": "video_sentiment", "clip": "sentiment"}


def has_topics(results: Results) -> bool:
    """Whether clips have two topics or more."""
    return results.clips["topic"].drop_nulls().n_unique() > 1


def topics(figure: Figure, results: Results) -> None:
    """Clips of each topic, in all parts."""
    counts = results.clips["topic"].drop_nulls().value_counts().sort("count", "topic", descending=[True, False])
    figure.set_size_inches(6, 0.9 + 0.26 * counts.height)
    axes = figure.subplots()
    axes.barh(range(counts.height), counts["count"].to_list(), color=BLUE, height=0.65)
    for y, count in enumerate(counts["count"]):
        axes.text(count, y, f" {count}", va="center", fontsize=8)
    axes.set_yticks(range(counts.height), counts["topic"].to_list(), parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("clips")
    gridded(axes, "x")
    title(figure, f"{results.plan.corpus.name}: clips by topic")


def labels(figure: Figure, results: Results) -> None:
    """Sentiment of each modality and of the clip; emotions; each in shares of the clips that have the label."""
    tasks = [task for task in ("sentiment", "emotion") if results.clips[task].is_not_null().any()]
    figure.set_size_inches(1 + 4.2 * len(tasks), 3.2)
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        if task == "sentiment":
            known = {name: column for name, column in LABELLED.items() if results.clips[column].is_not_null().any()}
            for place, (name, column) in enumerate(known.items()):
                shares = _shares(results.clips[column], SENTIMENTS)
                at = [x + 0.8 * (place - (len(known) - 1) / 2) / len(known) for x in range(len(SENTIMENTS))]
                axes.bar(at, shares, width=0.76 / len(known), color=GREY if name == "clip" else LINES[place], label=name)
            axes.legend(fontsize=7, frameon=False)
            axes.set_xticks(range(len(SENTIMENTS)), SENTIMENTS)
        else:
            shares = _shares(results.clips[task], LABELS[task])
            axes.bar(range(len(shares)), shares, color=BLUE, width=0.7)
            counts = [(results.clips[task] == label).sum() for label in LABELS[task]]
            for x, (share, count) in enumerate(zip(shares, counts, strict=True)):
                axes.text(x, share, str(count), ha="center", va="bottom", fontsize=7)
            axes.set_xticks(range(len(shares)), LABELS[task], rotation=30, ha="right")
        axes.set_title(task, loc="left")
        axes.set_ylabel("share of clips")
        gridded(axes, "y")
    title(figure, f"{results.plan.corpus.name}: labels of {results.clips.height} clips, all parts")


def _shares(column: pl.Series, names: tuple[str, ...]) -> list[float]:
    known = column.drop_nulls()
    return [int((known == name).sum()) / max(len(known), 1) for name in names]
