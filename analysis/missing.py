"""Scores with modalities missing at evaluation: finished models, shown a part of each clip.

Runs with the same stages are evaluations of one adapter; each row is named after the run of that adapter that sees everything.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.ablation import score_cells, score_schema
from analysis.folder import DONE, Results
from analysis.intervals import TaskIntervals, places
from analysis.units import Row, mean_of, scored_run

WHOLE = 0.0  # missing rate of a run that hides nothing, or whole modalities


def missing_schema() -> dict[str, Any]:
    """Columns of a missing-modality table; the scores are means over draws and seeds, `n` counts both."""
    return {
        "variant": pl.String,
        "shown": pl.String,
        "missing_rate": pl.Float64,
        **{k: v for k, v in score_schema().items() if k != "variant"},
    }


def missing_table(results: Results, task: str) -> pl.DataFrame:
    """A row per model, shown modalities and rate, models in the plan's order; empty if no run of the task hides anything, or under folds."""
    if results.plan.corpus.folds is not None:
        return pl.DataFrame(schema=missing_schema())
    runs = results.runs.filter((pl.col("task") == task) & (pl.col("outcome") == DONE) & pl.col("shown").is_not_null())
    everything = max(runs["shown"].list.len(), default=0)
    hides = (pl.col("shown").list.len() < everything) | (pl.col("missing_rate") > WHOLE)
    names = {_adapter(run): run["variant"] for run in reversed(runs.filter(~hides).rows(named=True))}
    grouped: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for run in runs.iter_rows(named=True):
        if _adapter(run) in names:
            shown = "everything" if len(run["shown"]) == everything else " + ".join(sorted(run["shown"], key="text video audio".index))
            grouped.setdefault((names[_adapter(run)], shown, run["missing_rate"]), []).append(run)
    if not any(shown != "everything" or rate > WHOLE for _, shown, rate in grouped):
        return pl.DataFrame(schema=missing_schema())
    order = list(dict.fromkeys(names[key] for key in reversed(names)))
    keys = sorted(grouped, key=lambda key: (order.index(key[0]), key[1] != "everything", key[2]))
    rows = []
    for variant, shown, rate in keys:
        same = grouped[variant, shown, rate]
        units = tuple(scored_run(results, task, run["signature"], run["seed"]) for run in same)
        signatures = tuple(run["signature"] for run in same)
        length = (mean_of(results, signatures, name) for name in ("num_steps", "main_items"))
        cells = score_cells(row := Row(variant, units, len(units), signatures, *length), TaskIntervals([row], places(results, task)))
        rows.append({**cells, "shown": shown, "missing_rate": rate})
    return pl.DataFrame(rows, schema=missing_schema())


def _adapter(run: dict[str, Any]) -> tuple[Any, ...]:
    """What evaluations of one model have in common."""
    return (*(run["stages"] or ()), run["seed"], run["fold"])
