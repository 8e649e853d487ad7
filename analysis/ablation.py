"""The score table: one row per variant, with seeds, intervals and the majority-class row.

The second of the three steps load, reduce, render. A *unit* is one (variant, task, seed): a run, or a run per fold whose
predictions are pooled before they are scored. A unit counts when all its runs are done; scores are means over the units.
"""

from __future__ import annotations

import statistics as stdlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.folder import DONE, Results
from analysis.statistics import Interval, draw_weights, interval, resampled, video_counts
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.metrics import Scores, majority_label, scores

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

MAJORITY = "majority class"
BASELINE = "Base"  # the row that the others are compared with
METRICS = ("accuracy", "macro_f1", "weighted_f1")


class Answers(NamedTuple):
    """A unit's predictions clip by clip, in the order of clip ids."""

    seed: int | None
    clips: tuple[str, ...]
    gold: tuple[str, ...]
    predicted: tuple[str | None, ...]
    videos: tuple[str, ...]

    def scores(self, task: str) -> Scores:
        """Point scores on the task's labels."""
        return scores(self.gold, self.predicted, LABELS[task])

    def counts(self, task: str) -> NDArray[Any]:
        """(V, 3, L) per-video counts for resampling."""
        return video_counts(self.gold, self.predicted, self.videos, LABELS[task])


class Row(NamedTuple):
    """One row of the tables of a task: its finished units, in the order of seeds."""

    variant: str
    units: tuple[Answers, ...]
    planned: int | None  # units; None for the majority class, which is no run
    signatures: tuple[str, ...]  # of all planned runs


def score_schema() -> dict[str, Any]:
    """Columns of a score table; scores are null while no unit stands, `_std` with fewer than two."""
    import polars as pl

    measured = {f"{metric}{part}": pl.Float64 for metric in METRICS for part in ("", "_std", "_low", "_high")}
    return {"variant": pl.String, "n": pl.Int64, "planned": pl.Int64, **measured, "unparsed": pl.Float64, "signatures": pl.List(pl.String)}


def score_table(results: Results, task: str) -> pl.DataFrame:
    """Accuracy, macro F1 and weighted F1 of every variant, in the plan's order, under the majority class."""
    import polars as pl

    return pl.DataFrame([_score(row, task) for row in task_rows(results, task)], schema=score_schema())


def task_rows(results: Results, task: str) -> list[Row]:
    """The majority class, then every variant that the plan gives to the task."""
    planned = [row for row in results.plan.rows if row.task == task]
    rows = [_majority(results, task)]
    for variant in results.plan.variants:
        mine = [row for row in planned if row.variant == variant]
        if not mine:
            continue
        seeds = sorted({row.seed for row in mine}, key=lambda seed: (seed is not None, seed or 0))
        units = [_unit(results, task, seed, [row.signature for row in mine if row.seed == seed]) for seed in seeds]
        rows.append(Row(variant, tuple(unit for unit in units if unit), len(seeds), tuple(row.signature for row in mine)))
    return rows


def _unit(results: Results, task: str, seed: int | None, signatures: list[str]) -> Answers | None:
    """The pooled predictions of a unit's runs, or None while one of them is not done."""
    import polars as pl

    done = results.runs.filter((pl.col("task") == task) & pl.col("signature").is_in(signatures) & (pl.col("outcome") == DONE))
    if set(done["signature"]) != set(signatures):
        return None
    frame = results.predictions.filter(pl.col("signature").is_in(signatures)).sort("clip")
    columns = (tuple(frame[name].to_list()) for name in ("clip", "gold", "prediction", "source_video"))
    return Answers(seed, *columns)


def _majority(results: Results, task: str) -> Row:
    """Always answering the commonest training label; under folds, that of each fold's own training part."""
    import polars as pl

    labelled = results.clips.filter(pl.col(task).is_not_null()).sort("clip")
    folds = results.plan.corpus.folds
    held_out = (
        [_held_out(results, task, fold) for fold in range(folds)]
        if folds
        else [set(labelled.filter(pl.col("split") == "validation")["clip"])]
    )
    answers: list[tuple[str, str, str, str]] = []
    for clips in held_out:
        inside = labelled.filter(pl.col("clip").is_in(sorted(clips)))
        train = labelled.filter(
            ~pl.col("clip").is_in(sorted(clips)) & pl.col("split").is_in(["train", "validation"] if folds else ["train"])
        )
        if inside.is_empty() or train.is_empty():
            return Row(MAJORITY, (), None, ())
        label = majority_label(train[task].to_list(), LABELS[task])
        answers += [(clip, gold, label, video) for clip, gold, video in inside.select("clip", task, "source_video").iter_rows()]
    clips_, gold_, predicted, videos = zip(*sorted(answers), strict=True)
    return Row(MAJORITY, (Answers(None, clips_, gold_, predicted, videos),), None, ())


def _held_out(results: Results, task: str, fold: int) -> set[str]:
    """The clips of a fold, as its finished runs answered them; none while no run of the fold stands."""
    import polars as pl

    runs = results.runs.filter((pl.col("task") == task) & (pl.col("fold") == fold) & (pl.col("outcome") == DONE))
    return set(results.predictions.filter(pl.col("signature").is_in(runs["signature"].to_list()))["clip"])


def _score(row: Row, task: str) -> dict[str, Any]:
    cells: dict[str, Any] = {"variant": row.variant, "n": len(row.units), "planned": row.planned, "signatures": list(row.signatures)}
    if not row.units:
        return dict.fromkeys(score_schema()) | cells
    points = [unit.scores(task) for unit in row.units]
    samples = resampled([unit.counts(task) for unit in row.units], draw_weights(len(set(row.units[0].videos))))
    for metric in METRICS:
        values = [getattr(point, metric) for point in points]
        bounds: Interval = interval(getattr(samples, metric))
        cells |= {metric: stdlib.fmean(values), f"{metric}_std": spread(values), f"{metric}_low": bounds.low, f"{metric}_high": bounds.high}
    return {name: cells.get(name) for name in score_schema()} | {"unparsed": stdlib.fmean(point.unparsed for point in points)}


def spread(values: Sequence[float]) -> float | None:
    """The sample standard deviation over seeds, or None with fewer than two."""
    return stdlib.stdev(values) if len(values) > 1 else None
