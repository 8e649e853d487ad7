"""F1, precision and recall of every class, with the numbers of its clips and source videos."""

from __future__ import annotations

import statistics as stdlib
from typing import Any

import polars as pl

from analysis.ablation import spread
from analysis.folder import Results
from analysis.intervals import task_intervals
from analysis.units import Row, task_rows
from omnimer_ray.corpora.clips import LABELS


def per_class_schema() -> dict[str, Any]:
    """Columns of a per-class table: one row per (variant, label); the interval of F1 is for these models, of classes on enough source videos."""
    counts = {"n": pl.Int64, "planned": pl.Int64, "support": pl.Int64, "source_videos": pl.Int64}
    measured = dict.fromkeys(("f1", "f1_std", "f1_low", "f1_high", "precision", "recall"), pl.Float64)
    return {"variant": pl.String, "label": pl.String, **counts, **measured, "signatures": pl.List(pl.String)}


def per_class_table(results: Results, task: str) -> pl.DataFrame:
    """Per-class scores of every variant, in the plan's order; supports are those of the scored clips."""
    rows = task_rows(results, task)
    scored = next((row.units[0] for row in rows if row.units), None)  # every unit answers the same clips
    clips = list(zip(scored.gold, scored.videos, strict=True)) if scored else []
    cells, intervals = [], task_intervals(results, task)
    for row in rows:
        for index, label in enumerate(LABELS[task]):
            videos = [video for gold, video in clips if gold == label]
            cell = {**_cell(row, index), "label": label, "support": len(videos), "source_videos": len(set(videos))}
            if row.units and index in intervals.supported:
                found = intervals.row(row.variant, index).models
                cell |= {"f1_low": found.low, "f1_high": found.high}
            cells.append(cell)
    return pl.DataFrame(cells, schema=per_class_schema())


def _cell(row: Row, index: int) -> dict[str, Any]:
    cell: dict[str, Any] = {"variant": row.variant, "n": len(row.units), "planned": row.planned, "signatures": list(row.signatures)}
    if not row.units:
        return cell
    points = [unit.scores for unit in row.units]
    means = {name: stdlib.fmean(getattr(point, name)[index] for point in points) for name in ("f1", "precision", "recall")}
    return {**cell, **means, "f1_std": spread([point.f1[index] for point in points])}
