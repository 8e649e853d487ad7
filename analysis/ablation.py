"""The score table: reference rows and one row per variant, with seeds and intervals; and the differences between rows.

The second of the three steps load, reduce, render. Scores are means over the finished seeds.
"""

from __future__ import annotations

import statistics as stdlib
from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.folder import Results
from analysis.intervals import MEASURES, PRIMARY, Estimates, TaskIntervals, Tested, p_values, paired, task_intervals
from analysis.swap_test import draw_masks, p_value
from analysis.units import Row, Unit, task_rows
from omnimer_ray.metrics import MAIN, METRICS

NAMES = tuple(dict.fromkeys([*MEASURES, *(metric.name for metric in METRICS)]))
ENDS = ("_low", "_high", "_recipe_low", "_recipe_high")


def score_schema() -> dict[str, Any]:
    """Columns of a score table; scores are null without a finished seed, `_std` with fewer than two, intervals where none can be given."""
    measured = {f"{metric}{part}": pl.Float64 for metric in NAMES for part in ("", "_std", *(ENDS if metric in MEASURES else ()))}
    unread = dict.fromkeys(("ece", "steps", "main_items", "unparsed", "recoverable", f"recoverable_{MAIN}"), pl.Float64)
    return {"variant": pl.String, "n": pl.Int64, "planned": pl.Int64, **measured, **unread, "signatures": pl.List(pl.String)}


def score_table(results: Results, task: str) -> pl.DataFrame:
    """Every score and the unparsed answers (counts; `recoverable`: of a lenient reading) of every row, in the plan's order."""
    intervals = task_intervals(results, task)
    return pl.DataFrame([score_cells(row, intervals) for row in task_rows(results, task)], schema=score_schema())


def score_cells(row: Row, intervals: TaskIntervals) -> dict[str, Any]:
    """One row of a score table; scores are absent without a finished unit. `intervals` are of a set of rows that holds this one."""
    cells: dict[str, Any] = {"variant": row.variant, "n": len(row.units), "planned": row.planned, "signatures": list(row.signatures)}
    if not row.units:
        return cells
    for metric in METRICS:
        values = [unit.scores.values[metric.name] for unit in row.units]
        cells |= {metric.name: stdlib.fmean(values), f"{metric.name}_std": spread(values)}
    for measure in MEASURES:
        cells |= _interval_cells(measure, intervals.row(row.variant, measure))
    cells[f"{PRIMARY}_std"] = spread(intervals.values(row.variant, PRIMARY))
    errors = [unit.ece for unit in row.units if unit.ece is not None]
    return cells | {
        "ece": stdlib.fmean(errors) if len(errors) == len(row.units) else None,
        "steps": row.steps,
        "main_items": row.main_items,
        "unparsed": stdlib.fmean(unit.scores.unparsed for unit in row.units),
        "recoverable": stdlib.fmean(unit.scores.unparsed - unit.lenient.unparsed for unit in row.units),
        f"recoverable_{MAIN}": stdlib.fmean(unit.lenient.macro_f1 for unit in row.units),
    }


def _interval_cells(measure: str, found: Estimates) -> dict[str, float | None]:
    """A score's value and the ends of its intervals."""
    return {
        measure: found.models.value,
        f"{measure}_low": found.models.low,
        f"{measure}_high": found.models.high,
        f"{measure}_recipe_low": found.recipe.low,
        f"{measure}_recipe_high": found.recipe.high,
    }


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation over seeds, or None with fewer than two."""
    return stdlib.stdev(values) if len(values) > 1 else None


def difference_schema() -> dict[str, Any]:
    """Columns of a difference table; everything measured is `variant` minus `reference`, p-values are of the primary score."""
    measured = {f"{metric}{part}": pl.Float64 for metric in MEASURES for part in ("", *ENDS)}
    tested = {f"{name}": pl.Float64 for name in ("p_models", "p_recipe", MAIN, f"p_{MAIN}")}
    names = {"variant": pl.String, "reference": pl.String, "pairs": pl.Int64, "registered": pl.Boolean}
    return {**names, **measured, **tested, "fixed": pl.Float64, "regressed": pl.Float64}


def difference_table(results: Results, task: str) -> pl.DataFrame:
    """The plan's contrasts, then every other row against the reference, paired by clip and seed; empty if the plan has no reference.

    `fixed` and `regressed` count the clips that only this row or only the reference has right, as means over the pairs of seeds.
    """
    intervals, tested = task_intervals(results, task), p_values(results)
    known = [pair for pair in results.plan.compared if set(pair) <= intervals.rows.keys()]
    rows = [_difference(results, intervals, pair, tested.get((task, *pair))) for pair in known]
    return pl.DataFrame(rows, schema=difference_schema())


def _difference(results: Results, intervals: TaskIntervals, pair: tuple[str, str], tested: Tested | None) -> dict[str, Any]:
    ones, others = paired(*(intervals.rows[name] for name in pair))
    cells: dict[str, Any] = {"variant": pair[0], "reference": pair[1], "pairs": len(ones), "registered": results.is_registered(*pair)}
    if not ones:
        return cells
    for measure in MEASURES:
        cells |= _interval_cells(measure, intervals.difference(pair[0], measure, minus=pair[1]))
    if tested is not None:
        cells |= {"p_models": tested.models, "p_recipe": tested.recipe}
    return cells | {
        MAIN: stdlib.fmean(one.scores.macro_f1 - other.scores.macro_f1 for one, other in zip(ones, others, strict=True)),
        f"p_{MAIN}": p_value(intervals.swapped(pair[0], MAIN, draw_masks(len(ones[0].counts)), minus=pair[1])),
        "fixed": stdlib.fmean(map(_only, ones, others)),
        "regressed": stdlib.fmean(map(_only, others, ones)),
    }


def _only(one: Unit, other: Unit) -> int:
    """Number of clips that `one` has right and `other` has wrong."""
    return sum(a == gold != b for gold, a, b in zip(one.gold, one.predicted, other.predicted, strict=True))
