"""The score table: the majority class and one row per variant, with seeds and intervals; and the differences from Base.

The second of the three steps load, reduce, render. Scores are means over the finished seeds.
"""

from __future__ import annotations

import statistics as stdlib
from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.folder import Results
from analysis.statistics import draw_weights, interval, resampled
from analysis.units import Row, Unit, task_rows
from omnimer_ray.metrics import MAIN, METRICS

BASELINE = "Base"  # the row that the others are compared with
NAMES = tuple(metric.name for metric in METRICS)


def score_schema() -> dict[str, Any]:
    """Columns of a score table; scores are null without a finished seed, `_std` with fewer than two."""
    measured = {f"{metric}{part}": pl.Float64 for metric in NAMES for part in ("", "_std", "_low", "_high")}
    unread = dict.fromkeys(("steps", "main_items", "unparsed", "recoverable", f"recoverable_{MAIN}"), pl.Float64)
    return {"variant": pl.String, "n": pl.Int64, "planned": pl.Int64, **measured, **unread, "signatures": pl.List(pl.String)}


def score_table(results: Results, task: str) -> pl.DataFrame:
    """Every metric and the unparsed answers (counts; `recoverable`: of a lenient reading) of every variant, in the plan's order."""
    return pl.DataFrame([score_cells(row) for row in task_rows(results, task)], schema=score_schema())


def score_cells(row: Row) -> dict[str, Any]:
    """One row of a score table; scores are absent without a finished unit."""
    cells: dict[str, Any] = {"variant": row.variant, "n": len(row.units), "planned": row.planned, "signatures": list(row.signatures)}
    if not row.units:
        return cells
    points = [unit.scores for unit in row.units]
    counts = [unit.counts for unit in row.units]
    samples = resampled(counts, draw_weights(len(counts[0])))
    for metric in NAMES:
        values = [point.values[metric] for point in points]
        low, high = interval(samples[metric])
        cells |= {metric: stdlib.fmean(values), f"{metric}_std": spread(values), f"{metric}_low": low, f"{metric}_high": high}
    return cells | {
        "steps": row.steps,
        "main_items": row.main_items,
        "unparsed": stdlib.fmean(point.unparsed for point in points),
        "recoverable": stdlib.fmean(unit.scores.unparsed - unit.lenient.unparsed for unit in row.units),
        f"recoverable_{MAIN}": stdlib.fmean(unit.lenient.macro_f1 for unit in row.units),
    }


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation over seeds, or None with fewer than two."""
    return stdlib.stdev(values) if len(values) > 1 else None


def difference_schema() -> dict[str, Any]:
    """Columns of a difference table; everything measured is this variant minus Base."""
    measured = {f"{metric}{part}": pl.Float64 for metric in NAMES for part in ("", "_low", "_high")}
    return {"variant": pl.String, "pairs": pl.Int64, **measured, "mended": pl.Float64, "broken": pl.Float64}


def difference_table(results: Results, task: str, *, baseline: str = BASELINE) -> pl.DataFrame:
    """Difference of every other row from `baseline`, paired by clip and seed; empty if the plan has no such row.

    `mended` and `broken` count the clips that only this variant or only the baseline has right, as means over the pairs of seeds.
    """
    rows = {row.variant: row for row in task_rows(results, task)}
    others = [row for row in rows.values() if row.variant != baseline] if baseline in rows else []
    return pl.DataFrame([_difference(row, baseline=rows[baseline]) for row in others], schema=difference_schema())


def pairs(row: Row, *, baseline: Row) -> list[tuple[Unit, Unit]]:
    """Pairs of units of the same seed; a unit without a seed (zero-shot, the majority class) is paired with every seed of the other row."""
    return [(one, other) for one in row.units for other in baseline.units if one.seed == other.seed or None in (one.seed, other.seed)]


def _difference(row: Row, *, baseline: Row) -> dict[str, Any]:
    paired = pairs(row, baseline=baseline)
    cells: dict[str, Any] = {"variant": row.variant, "pairs": len(paired)}
    if not paired:
        return cells
    weights = draw_weights(len(paired[0][0].counts))  # both rows use the same resamples
    mine = resampled([one.counts for one, _ in paired], weights)
    theirs = resampled([other.counts for _, other in paired], weights)
    for metric in NAMES:
        low, high = interval(mine[metric] - theirs[metric])
        point = stdlib.fmean(one.scores.values[metric] - other.scores.values[metric] for one, other in paired)
        cells |= {metric: point, f"{metric}_low": low, f"{metric}_high": high}
    return cells | {
        "mended": stdlib.fmean(_only(one, other) for one, other in paired),
        "broken": stdlib.fmean(_only(other, one) for one, other in paired),
    }


def _only(one: Unit, other: Unit) -> int:
    """Number of clips that `one` has right and `other` has wrong."""
    return sum(a == gold != b for gold, a, b in zip(one.gold, one.predicted, other.predicted, strict=True))
