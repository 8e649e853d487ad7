"""Scores of the same runs on several corpora: where they were trained, and elsewhere."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.ablation import score_table
from analysis.folder import Results
from analysis.intervals import PRIMARY
from omnimer_ray.metrics import MAIN

MEASURED = (PRIMARY, f"{PRIMARY}_low", f"{PRIMARY}_high", "accuracy", MAIN)


def answered(results: Results, task: str) -> list[Results]:
    """The runs on every other corpus that has labels for the task."""
    views = [results.on(corpus) for corpus in results.plan.evaluated_on]
    return [view for view in views if view.clips[task].is_not_null().any()]


def transfer_schema() -> dict[str, Any]:
    """Columns of a transfer table: a row per variant and corpus that it answered."""
    return {"variant": pl.String, "trained_on": pl.String, "evaluated_on": pl.String, "n": pl.Int64, **dict.fromkeys(MEASURED, pl.Float64)}


def transfer_table(results: Results, task: str) -> pl.DataFrame:
    """The scores of each variant on its own corpus and on the others; empty without another one, or under folds."""
    views = answered(results, task)
    if not views:
        return pl.DataFrame(schema=transfer_schema())
    rows = []
    for view in (results, *views):
        place = {"trained_on": results.plan.corpus.name, "evaluated_on": view.plan.corpus.name}
        rows += [{**row, **place} for row in score_table(view, task).iter_rows(named=True)]
    order = {variant: index for index, variant in enumerate(dict.fromkeys(row["variant"] for row in rows))}
    rows.sort(key=lambda row: order[row["variant"]])
    return pl.DataFrame([{name: row[name] for name in transfer_schema()} for row in rows], schema=transfer_schema())
