"""What a model recognises from one modality alone: its answers to the auxiliary instructions, against that modality's labels.

The row of the base without training is the state before; the text column is of keywords, video of faces, audio of prosody.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from analysis.folder import DONE, Results
from analysis.statistics import accuracy_counts, these_models
from analysis.units import MAJORITY, Unit, scored
from omnimer_ray.config import AUXILIARIES
from omnimer_ray.corpora.clips import SENTIMENTS
from omnimer_ray.metrics import majority_label


def grounding_schema() -> dict[str, Any]:
    """Columns: accuracy of each modality with its interval, as means over seeds; null where no clip has the modality's label."""
    measured = {f"{modality}{part}": pl.Float64 for modality in AUXILIARIES for part in ("", "_low", "_high")}
    return {"variant": pl.String, "n": pl.Int64, **measured, "signatures": pl.List(pl.String)}


def grounding_table(results: Results, task: str) -> pl.DataFrame:
    """The majority class of each modality, then a row per variant of the task that answered; empty if none did, or under folds."""
    if results.auxiliary_answers.is_empty() or results.plan.corpus.folds is not None:
        return pl.DataFrame(schema=grounding_schema())
    done = results.runs.filter((pl.col("task") == task) & (pl.col("outcome") == DONE))
    rows = []
    for variant in results.plan.variants:
        mine = done.filter(pl.col("variant") == variant)
        answers = results.auxiliary_answers.filter(pl.col("signature").is_in(mine["signature"].to_list()))
        if not answers.is_empty():
            rows.append(
                {"variant": variant, "n": answers["signature"].n_unique(), **_cells(answers), "signatures": mine["signature"].to_list()}
            )
    first = _majority(results) if rows else []
    return pl.DataFrame([*first, *rows], schema=grounding_schema())


def _cells(answers: pl.DataFrame) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for modality, auxiliary in AUXILIARIES.items():
        frame = answers.filter(pl.col("instruction") == auxiliary.kind).with_columns(pl.lit(None).alias("answer"))
        units = [
            scored(None, frame.filter(pl.col("signature") == signature), "sentiment") for signature in frame["signature"].unique().sort()
        ]
        cells |= _accuracy(modality, units)
    return cells


def _accuracy(modality: str, units: list[Unit]) -> dict[str, Any]:
    if not units:
        return {}
    terms = accuracy_counts(np.stack([unit.counts for unit in units]))
    found = these_models(float(terms.score.mean()), terms.influences.mean(0), terms.df).within(0)
    return {modality: found.value, f"{modality}_low": found.low, f"{modality}_high": found.high}


def _majority(results: Results) -> list[dict[str, Any]]:
    """Always the most frequent training label of each modality."""
    cells: dict[str, Any] = {"variant": MAJORITY, "n": 0, "signatures": []}
    for modality in AUXILIARIES:
        label = f"{modality}_sentiment"
        labelled = results.clips.filter(pl.col(label).is_not_null())
        train, held_out = labelled.filter(pl.col("split") == "train"), labelled.filter(pl.col("split") == results.plan.corpus.reported)
        if train.is_empty() or held_out.is_empty():
            continue
        answer = pl.lit(majority_label(train[label].to_list(), labels=SENTIMENTS))
        frame = held_out.select(
            "clip", pl.col(label).alias("gold"), answer.alias("prediction"), "source_video", pl.lit(None).alias("answer")
        )
        cells |= _accuracy(modality, [scored(None, frame, "sentiment")])
    return [cells]
