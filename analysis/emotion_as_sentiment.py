"""Emotion answers scored as sentiment by the polarity that they state, beside the sentiment run of the same variant.

A run whose prompt asks for no polarity states none: its cells are null.
"""

from __future__ import annotations

import statistics as stdlib
from typing import Any

import polars as pl

from analysis.ablation import score_cells, score_schema
from analysis.folder import Results
from analysis.intervals import MEASURES, TaskIntervals, places, task_intervals
from analysis.units import Row, Unit, scored, task_rows
from omnimer_ray.corpora.clips import SENTIMENT_OF


def polarity_schema() -> dict[str, Any]:
    """Columns: scores of the stated polarity, the share of answers whose emotion fits it, and scores of the direct sentiment run."""
    scores = [f"{metric}{part}" for metric in MEASURES for part in ("", "_std", "_low", "_high")]
    added = ["consistent", *(f"direct_{metric}" for metric in MEASURES)]
    known = score_schema()
    return {name: known.get(name, pl.Float64) for name in ("variant", "n", "planned", *scores, *added, "signatures")}


def polarity_table(results: Results) -> pl.DataFrame:
    """A row per variant that the plan gives to the emotion task, in the plan's order."""
    direct = {row.variant: row for row in task_rows(results, "sentiment")}
    schema = polarity_schema()
    stated = [_stated(results, row) for row in task_rows(results, "emotion") if row.planned is not None]
    intervals = TaskIntervals(stated, places(results, "sentiment"))
    rows = [_cells(results, row, direct.get(row.variant), intervals) for row in stated]
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def _stated(results: Results, row: Row) -> Row:
    """A row whose units answer with the polarities that its emotion answers state."""
    units = [_polarity_unit(unit, _answers(results, row.variant, unit.seed)) for unit in row.units]
    return row._replace(units=tuple(unit for unit in units if unit))


def _cells(results: Results, row: Row, direct: Row | None, intervals: TaskIntervals) -> dict[str, Any]:
    cells = score_cells(row, intervals) | {"n": _finished(results, row.variant)}
    if row.units:
        cells["consistent"] = stdlib.fmean(_consistent(_answers(results, row.variant, unit.seed), results.clips) for unit in row.units)
    if direct is not None and direct.units:
        found = task_intervals(results, "sentiment")
        cells |= {f"direct_{measure}": found.row(direct.variant, measure).models.value for measure in MEASURES}
    return cells


def _finished(results: Results, variant: str) -> int:
    """Finished seeds of the emotion run, also of one that states no polarity."""
    return next(len(row.units) for row in task_rows(results, "emotion") if row.variant == variant)


def _answers(results: Results, variant: str, seed: int | None) -> pl.DataFrame:
    """The emotion answers of a unit, with the gold sentiment of each clip."""
    signatures = [row.signature for row in results.plan.rows if (row.variant, row.task, row.seed) == (variant, "emotion", seed)]
    golds = results.clips.select("clip", pl.col("sentiment").alias("gold_sentiment"))
    return results.predictions.filter(pl.col("signature").is_in(signatures)).join(golds, on="clip", how="left")


def _polarity_unit(unit: Unit, answers: pl.DataFrame) -> Unit | None:
    """The stated polarities as the answers of a sentiment run; None if none is stated or no clip has a gold sentiment."""
    labelled = answers.filter(pl.col("gold_sentiment").is_not_null())
    if labelled["predicted_sentiment"].is_null().all():
        return None
    columns = {"gold": "gold_sentiment", "prediction": "predicted_sentiment"}
    frame = labelled.select(
        "clip", "source_video", *(pl.col(name).alias(new) for new, name in columns.items()), pl.lit(None).alias("answer")
    )
    return scored(unit.seed, frame, "sentiment")


def _consistent(answers: pl.DataFrame, clips: pl.DataFrame) -> float:
    """The share of parsed answers whose emotion fits the stated polarity: IndoMER's, or one that a clip of the corpus has."""
    fitting = {*SENTIMENT_OF.items(), *clips.select("emotion", "sentiment").drop_nulls().unique().iter_rows()}
    parsed = answers.filter(pl.col("predicted_sentiment").is_not_null())
    return stdlib.fmean((emotion, stated) in fitting for emotion, stated in parsed.select("prediction", "predicted_sentiment").iter_rows())
