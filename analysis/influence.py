"""How far a difference rests on single source videos: what it becomes without each of them."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.folder import Results
from analysis.intervals import PRIMARY, task_intervals


def influence_schema() -> dict[str, Any]:
    """Columns: the difference, its lowest and highest value without one video, those videos, and in how many cases the sign is another."""
    numbers = dict.fromkeys((PRIMARY, "lowest", "highest"), pl.Float64)
    names = {"without_lowest": pl.String, "without_highest": pl.String, "other_sign": pl.Int64, "videos": pl.Int64}
    return {"variant": pl.String, "reference": pl.String, **numbers, **names}


def influence_table(results: Results, task: str) -> pl.DataFrame:
    """A row per contrast of the plan with results on both sides; empty if no class is supported."""
    intervals, rows = task_intervals(results, task), []
    if not intervals.supported:
        return pl.DataFrame(schema=influence_schema())
    for row, reference in results.plan.compared:
        if intervals.can_compare(row, reference):
            videos = sorted(set(intervals.rows[row].units[0].videos))
            value, without = intervals.without_each_video(row, PRIMARY, minus=reference)
            low, high = int(without.argmin()), int(without.argmax())
            rows.append(
                {
                    "variant": row,
                    "reference": reference,
                    PRIMARY: value,
                    "lowest": float(without[low]),
                    "highest": float(without[high]),
                    "without_lowest": videos[low],
                    "without_highest": videos[high],
                    "other_sign": int((without * value <= 0).sum()),
                    "videos": len(videos),
                }
            )
    return pl.DataFrame(rows, schema=influence_schema())
