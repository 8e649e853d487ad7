"""Runs -> the scored units of each row of a task's tables.

A *unit* is one (variant, task, seed): a run, or a run per fold whose predictions are pooled before they are scored. It
counts if all its runs are done; otherwise its cell is empty. The majority-class row is a unit without a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from analysis.folder import DONE, Results
from analysis.planned import scored_splits
from analysis.statistics import video_counts
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.metrics import Classes, Scores, majority_label, scores, scores_of
from omnimer_ray.tasks.lenient import read_leniently

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAJORITY, PRIOR = "majority class", "class prior"
ECE_BINS = 10  # of equal width
HUMAN = {f"human label of {modality}": f"{modality}_sentiment" for modality in ("text", "audio", "video")}  # reference rows of sentiment


class Unit(NamedTuple):
    """The answers per clip, in the order of clip ids, and their scores."""

    seed: int | None
    clips: tuple[str, ...]  # their ids, in the order of the answers
    gold: tuple[str, ...]
    predicted: tuple[str | None, ...]  # empty for expected counts
    videos: tuple[str, ...]  # source video of each clip
    folds: tuple[int, ...] | None  # the fold of each source video, in the order of counts; None without folds
    scores: Scores
    counts: NDArray[Any]  # (V, 3, L), see statistics.video_counts
    lenient: Scores  # with the unparsed answers that a lenient reading reads
    ece: float | None = None  # expected calibration error of the probabilities of labels; None if an answer has none


class Row(NamedTuple):
    """One row of the tables of a task: its finished units, in the order of seeds."""

    variant: str
    units: tuple[Unit, ...]
    planned: int | None  # units; None for the majority class, which is no run
    signatures: tuple[str, ...]  # of all planned runs
    steps: float | None = None  # optimizer steps of a finished run, as a mean over them; None if that is not known
    main_items: float | None = None  # main items that it was trained on, repeats included


@lru_cache(maxsize=8)  # cached: every table, figure and page of a task uses the same rows
def task_rows(results: Results, task: str) -> tuple[Row, ...]:
    """The reference rows, then every variant that the plan gives to the task, in the plan's order."""
    planned = [row for row in results.plan.rows if row.task == task]
    rows = [Row(MAJORITY, _majority(results, task), None, ()), Row(PRIOR, _prior(results, task), None, ()), *_human(results, task)]
    for variant in results.plan.variants:
        mine = [row for row in planned if row.variant == variant]
        seeds = sorted({row.seed for row in mine}, key=lambda seed: -1 if seed is None else seed)
        units = [_unit(results, task, seed, [row.signature for row in mine if row.seed == seed]) for seed in seeds]
        if mine:
            signatures = tuple(row.signature for row in mine)
            length = (mean_of(results, signatures, name) for name in ("num_steps", "main_items"))
            rows.append(Row(variant, tuple(unit for unit in units if unit), len(seeds), signatures, *length))
    return tuple(rows)


def mean_of(results: Results, signatures: tuple[str, ...], column: str) -> float | None:
    """The mean of a column over the finished runs; None if one of them lacks it."""
    values = results.runs.filter(pl.col("signature").is_in(signatures) & (pl.col("outcome") == DONE))[column].to_list()
    return None if not values or None in values else fmean(values)


def scored_run(results: Results, task: str, signature: str, seed: int | None) -> Unit:
    """The unit of a single run that is done."""
    return scored(seed, results.predictions.filter(pl.col("signature") == signature), task)


def scored(seed: int | None, frame: pl.DataFrame, task: str) -> Unit:
    """`frame` has the columns clip, gold, prediction, answer (null: none to read) and source_video, a row per clip."""
    columns = frame.sort("clip").select("clip", "gold", "prediction", "source_video", "answer")
    fold_of = dict(frame.select("source_video", "fold").iter_rows()) if "fold" in frame.columns else {}
    clips, gold, predicted, videos, answers = (tuple(columns[name].to_list()) for name in columns.columns)
    read = [read_leniently(text, task) if label is None and text else label for label, text in zip(predicted, answers, strict=True)]
    return Unit(
        seed,
        clips,
        gold,
        predicted,
        videos,
        tuple(fold_of[video] for video in sorted(fold_of)) or None,
        scores(gold=gold, predicted=predicted, labels=LABELS[task]),
        video_counts(gold=gold, predicted=predicted, videos=videos, labels=LABELS[task]),
        scores(gold=gold, predicted=read, labels=LABELS[task]),
        calibration_error(frame, task) if "probabilities" in frame.columns else None,
    )


def calibration_error(frame: pl.DataFrame, task: str) -> float | None:
    """Expected calibration error of the most probable labels: mean distance of confidence and accuracy over ECE_BINS bins, weighted by clips.

    (Guo et al. 2017.) The probabilities are over the closed set of answers.
    """
    if frame.is_empty() or frame["probabilities"].has_nulls():
        return None
    probabilities = np.array(frame["probabilities"].to_list())
    confidence = probabilities.max(1)
    right = np.array(LABELS[task])[probabilities.argmax(1)] == frame["gold"].to_numpy()
    places = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    return float(sum(abs((confidence - right)[places == place].sum()) for place in range(ECE_BINS)) / len(right))


def scored_clips(results: Results, task: str) -> pl.DataFrame:
    """The clips that the tables of a task are scored on."""
    return results.clips.filter(pl.col(task).is_not_null() & pl.col("split").is_in(scored_splits(results.plan)))


def _unit(results: Results, task: str, seed: int | None, signatures: list[str]) -> Unit | None:
    """The pooled predictions of a unit's runs, or None if one of them is not done."""
    done = results.runs.filter(pl.col("signature").is_in(signatures) & (pl.col("outcome") == DONE))
    if set(done["signature"]) != set(signatures):
        return None
    frame = results.predictions.filter(pl.col("signature").is_in(signatures))
    if results.plan.corpus.folds is not None:
        frame = frame.join(done.select("signature", "fold").unique(), on="signature")
    return scored(seed, frame, task)


def _majority(results: Results, task: str) -> tuple[Unit, ...]:
    """The unit that always answers the most frequent training label; with folds, the most frequent label of each fold's training part."""
    parts = [
        held_out.with_columns(pl.lit(majority_label(train, labels=LABELS[task])).alias("prediction"))
        for held_out, train in _parts(results, task)
    ]
    return (scored(None, pl.concat(parts), task),) if parts else ()


def _prior(results: Results, task: str) -> tuple[Unit, ...]:
    """The unit that answers each label as often as training has it, at random: the counts that it expects, and so scores without chance."""
    parts = list(_parts(results, task))
    if not parts:
        return ()
    unit, places = (
        scored(None, pl.concat(held_out for held_out, _ in parts), task),
        sorted({v for part, _ in parts for v in part["source_video"]}),
    )
    counts = unit.counts.copy()
    for held_out, train in parts:
        share = np.array([train.count(label) for label in LABELS[task]]) / len(train)
        for video in held_out["source_video"].unique():
            support = counts[places.index(video), 2]
            counts[places.index(video), 0], counts[places.index(video), 1] = support * share, support.sum() * share
    right, answered, support = counts.sum(0)
    expected = scores_of(Classes(right, answered, support), LABELS[task])
    return (unit._replace(predicted=(), counts=counts, scores=expected, lenient=expected),)


def _parts(results: Results, task: str) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """Clips that are scored, and the training labels of those who answer them: one pair, or one for each fold; none without both.

    The clips have the columns that `scored` needs, without a prediction.
    """
    folds = results.plan.corpus.folds
    labelled = results.clips.filter(pl.col(task).is_not_null())
    pool = labelled.filter(pl.col("split").is_in(scored_splits(results.plan)))
    found = []
    for held_out in [pool] if folds is None else [_held_out(results, task, pool, fold) for fold in range(folds)]:
        train = labelled.filter(pl.col("split") == "train") if folds is None else pool.join(held_out, on="clip", how="anti")
        if held_out.is_empty() or train.is_empty():
            return
        empty = (pl.lit(None, pl.String).alias(name) for name in ("prediction", "answer"))
        found.append((held_out.select("clip", pl.col(task).alias("gold"), "source_video", *empty), train[task].to_list()))
    yield from found


def _human(results: Results, task: str) -> list[Row]:
    """How far the labels that people gave to single modalities, and their vote, are the clip's own; of three different labels the text's counts."""
    pool = scored_clips(results, task)
    if task != "sentiment" or pool.is_empty() or pool.select(HUMAN.values()).null_count().sum_horizontal()[0]:
        return []
    text, audio, video = (pl.col(name) for name in HUMAN.values())
    labels = {name: pl.col(column) for name, column in HUMAN.items()}
    labels["human labels, vote"] = pl.when(audio == video).then(audio).otherwise(text)
    rows = []
    for name, label in labels.items():
        frame = pool.select("clip", pl.col(task).alias("gold"), label.alias("prediction"), "source_video", pl.lit(None).alias("answer"))
        rows.append(Row(name, (scored(None, frame, task),), None, ()))
    return rows


def _held_out(results: Results, task: str, pool: pl.DataFrame, fold: int) -> pl.DataFrame:
    """The clips of a fold that its finished runs answered; none if no run of the fold is done."""
    runs = results.runs.filter((pl.col("task") == task) & (pl.col("fold") == fold) & (pl.col("outcome") == DONE))
    answered = results.predictions.filter(pl.col("signature").is_in(runs["signature"].to_list()))
    return pool.join(answered.select("clip").unique(), on="clip", how="semi")
