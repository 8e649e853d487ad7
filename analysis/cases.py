"""Clips on which the best row and the reference differ, with all that there is to understand them."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.ablation import score_table
from analysis.flips import flips
from analysis.folder import DONE, Results
from analysis.intervals import PRIMARY, supported_classes
from omnimer_ray.config import content_hash
from omnimer_ray.metrics import MAIN

CASES = 3  # of each kind


def best_row(results: Results, task: str) -> str | None:
    """The trained row with the highest first score that is not the reference; None without one."""
    measure = PRIMARY if supported_classes(results, task) else MAIN
    trained = set(results.runs.filter((pl.col("task") == task) & pl.col("seed").is_not_null())["variant"])
    table = score_table(results, task).filter(pl.col("variant").is_in(list(trained)) & pl.col(measure).is_not_null())
    others = table.filter(pl.col("variant") != (results.plan.baseline or ""))
    return None if others.is_empty() else str(others.sort(measure, descending=True, maintain_order=True)["variant"][0])


def cases(results: Results, task: str, number: int = CASES) -> list[dict[str, Any]]:
    """Up to `number` clips that the best row has right and the reference wrong, and as many the other way round, of the first seed; chosen by a hash of their ids."""
    best, reference = best_row(results, task), results.plan.baseline
    rows = set(results.runs.filter(pl.col("outcome") == DONE)["variant"])
    if best is None or reference is None or not {best, reference} <= rows:
        return []
    found = flips(results, task, best, minus=reference)
    found = found.filter(pl.col("seed").eq_missing(found["seed"].min()))
    clips = {clip["clip"]: clip for clip in results.clips.iter_rows(named=True)}
    chosen = []
    for right in (best, reference):
        mine = sorted(found.filter(pl.col("right") == right).iter_rows(named=True), key=lambda flip: content_hash(flip["clip"]))
        chosen += [
            {
                **clips[flip["clip"]],
                "gold": flip["gold"],
                "right": right,
                "answers": [
                    {"variant": variant, **_words(results, task, variant, flip["seed"], flip["clip"])} for variant in (reference, best)
                ],
            }
            for flip in mine[:number]
        ]
    return chosen


def _words(results: Results, task: str, variant: str, seed: int | None, clip: str) -> dict[str, Any]:
    """What a row said of a clip: the label, the model's own words, and its answers to the auxiliary instructions."""
    done = results.runs.filter((pl.col("variant") == variant) & (pl.col("task") == task) & (pl.col("outcome") == DONE))
    runs = done.filter(pl.col("seed").is_null() | (pl.col("seed") == seed))["signature"].to_list()
    mine = results.predictions.filter(pl.col("signature").is_in(runs) & (pl.col("clip") == clip)).row(0, named=True)
    auxiliary = results.auxiliary_answers.filter(pl.col("signature").is_in(runs) & (pl.col("clip") == clip))
    return {
        "label": mine["prediction"] or "unparsed",
        "right": mine["prediction"] == mine["gold"],
        "answer": mine["answer"] or "",
        "auxiliary": list(auxiliary.sort("instruction").select("instruction", "answer", "gold").iter_rows()),
    }
