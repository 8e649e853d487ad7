"""The clips on which two rows differ, and who is right: one row of a frame per clip and seed."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.folder import Results
from analysis.intervals import paired
from analysis.units import task_rows
from omnimer_ray.errors import ResultsError


def flips_schema() -> dict[str, Any]:
    """Columns; `seed` is null where neither row has one, an answer is null if it is unparsed."""
    names = ("clip", "source_video", "gold", "answer", "other", "right", "text")
    return {"variant": pl.String, "reference": pl.String, "seed": pl.Int64, **dict.fromkeys(names, pl.String)}


def flips(results: Results, task: str, row: str, *, minus: str) -> pl.DataFrame:
    """Clips that the rows answer differently, by seed; `right` is a row's name, or none. Raises ResultsError if a row is not there."""
    rows = {found.variant: found for found in task_rows(results, task)}
    for name in (row, minus):
        if name not in rows:
            raise ResultsError(f"no row {name!r} in the {task} table; rows: {', '.join(rows)}")
    texts, lines = dict(results.clips.select("clip", "text").iter_rows()), []
    for one, other in zip(*paired(rows[row], rows[minus]), strict=True):
        if not one.predicted or not other.predicted:  # expected counts, no answers
            continue
        for clip, video, gold, mine, theirs in zip(one.clips, one.videos, one.gold, one.predicted, other.predicted, strict=True):
            if mine != theirs:
                lines.append(
                    {
                        "variant": row,
                        "reference": minus,
                        "seed": other.seed if one.seed is None else one.seed,
                        "clip": clip,
                        "source_video": video,
                        "gold": gold,
                        "answer": mine,
                        "other": theirs,
                        "right": row if mine == gold else minus if theirs == gold else "none",
                        "text": texts[clip],
                    }
                )
    return pl.DataFrame(lines, schema=flips_schema())


def flips_table(results: Results, task: str) -> pl.DataFrame:
    """The flips of all contrasts of the plan."""
    rows = {found.variant for found in task_rows(results, task)}
    frames = [flips(results, task, row, minus=reference) for row, reference in results.plan.compared if {row, reference} <= rows]
    return pl.concat(frames) if frames else pl.DataFrame(schema=flips_schema())
