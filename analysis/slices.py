"""Accuracy on parts of the scored clips: where the modalities' labels agree or conflict, and by topic."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from analysis.folder import Results
from analysis.statistics import accuracy_counts, these_models, video_counts
from analysis.units import Row, scored_clips, task_rows
from omnimer_ray.corpora.clips import LABELS

MODALITIES = ("text_sentiment", "audio_sentiment", "video_sentiment")
AGREE, ONE_DIFFERS, ALL_DIFFER, NONE_FITS = "all agree", "one differs", "all differ", "none is the clip's"


def conflicts(results: Results, task: str) -> dict[str, set[str]]:
    """Part -> clips, by the sentiment that people gave to each modality; clips whose own sentiment is none of them apart. Empty without such labels."""
    clips = scored_clips(results, task)
    if clips.is_empty() or clips.select(*MODALITIES, "sentiment").null_count().sum_horizontal()[0]:
        return {}
    parts: dict[str, set[str]] = {AGREE: set(), ONE_DIFFERS: set(), ALL_DIFFER: set(), NONE_FITS: set()}
    for clip, sentiment, *labels in clips.select("clip", "sentiment", *MODALITIES).iter_rows():
        part = NONE_FITS if sentiment not in labels else (AGREE, ONE_DIFFERS, ALL_DIFFER)[len(set(labels)) - 1]
        parts[part].add(clip)
    return {part: found for part, found in parts.items() if found}


def topics(results: Results, task: str) -> dict[str, set[str]]:
    """Topic -> clips; empty with fewer than two topics."""
    clips = scored_clips(results, task).filter(pl.col("topic").is_not_null())
    found = {str(topic): set(group["clip"]) for (topic,), group in clips.sort("topic").group_by("topic", maintain_order=True)}
    return found if len(found) > 1 else {}


def slice_schema() -> dict[str, Any]:
    """Columns: accuracy of a row on a part, with its interval for these models; the part's clips and source videos."""
    counts = {"clips": pl.Int64, "source_videos": pl.Int64}
    return {"variant": pl.String, "part": pl.String, **counts, **dict.fromkeys(("accuracy", "low", "high"), pl.Float64)}


def slice_table(results: Results, task: str, parts: dict[str, set[str]]) -> pl.DataFrame:
    """A line per row with answers and part."""
    rows = [row for row in task_rows(results, task) if row.units and row.units[0].predicted]
    return pl.DataFrame([_cells(row, part, clips, task) for row in rows for part, clips in parts.items()], schema=slice_schema())


def _cells(row: Row, part: str, clips: set[str], task: str) -> dict[str, Any]:
    counts = []
    for unit in row.units:
        kept = [place for place, clip in enumerate(unit.clips) if clip in clips]
        gold, videos = ([values[place] for place in kept] for values in (unit.gold, unit.videos))
        predicted = [unit.predicted[place] for place in kept]
        counts.append(video_counts(gold=gold, predicted=predicted, videos=videos, labels=LABELS[task]))
    terms = accuracy_counts(np.stack(counts))
    found = these_models(float(terms.score.mean()), terms.influences.mean(0), terms.df).within(0)
    about = {"variant": row.variant, "part": part, "clips": len(clips), "source_videos": counts[0].shape[0]}
    return {**about, "accuracy": found.value, "low": found.low, "high": found.high}
