"""The expected best of k seeds or trials, because a maximum over more of them is higher by chance alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

import polars as pl

from analysis.folder import Results
from analysis.intervals import PRIMARY, task_intervals
from analysis.units import task_rows


def expected_best(values: Sequence[float], k: int) -> float:
    """The mean of the best of k of the values, over all choices of k: unbiased (Tang et al. 2020), unlike choices with replacement. k is 1 to their number."""
    ordered = sorted(values)
    return sum(comb(place, k - 1) * value for place, value in enumerate(ordered)) / comb(len(ordered), k)


def best_of_schema() -> dict[str, Any]:
    """Columns: the expected best of k seeds of a row."""
    return {"variant": pl.String, "k": pl.Int64, PRIMARY: pl.Float64}


def best_of_table(results: Results, task: str) -> pl.DataFrame:
    """For every row with two seeds or more, k from 1 to its seeds; empty without one."""
    intervals, rows = task_intervals(results, task), []
    for row in task_rows(results, task):
        if len(row.units) > 1 and (values := intervals.values(row.variant, PRIMARY)):
            rows += [{"variant": row.variant, "k": k, PRIMARY: expected_best(values, k)} for k in range(1, len(values) + 1)]
    return pl.DataFrame(rows, schema=best_of_schema())
