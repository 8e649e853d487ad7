"""Real nulls: seeds of one row, split at random into two groups that do not differ but by chance; how often is a difference found?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.folder import Results
from analysis.intervals import MEASURES, TaskIntervals, places
from analysis.statistics import LEVEL
from analysis.swap_test import draw_masks, p_value
from analysis.units import Row, Unit, task_rows
from omnimer_ray.errors import ResultsError

GROUP = 3  # seeds on each side
SPLITS = 1_000
MIN_SEEDS = 2 * GROUP + 1  # one can be left out


class NullRate(NamedTuple):
    """A share of splits with a difference, and its error by leaving out one seed at a time."""

    task: str
    score: str
    question: str  # models, recipe
    share: float
    error: float
    splits: int
    seeds: int


def real_null(results: Results, variant: str, splits: int = SPLITS) -> list[NullRate]:
    """Rates of a row's seeds, GROUP against GROUP, for each task, score and question. Raises ResultsError if it has too few seeds.

    The clips are the same in both groups, so this is about the seeds alone: the models of two groups may well differ, the recipe does not.
    """
    rates = []
    for task in results.plan.tasks:
        units = next((row.units for row in task_rows(results, task) if row.variant == variant), ())
        if len(units) < MIN_SEEDS:
            raise ResultsError(f"row {variant!r} has {len(units)} finished seeds for {task}; {MIN_SEEDS} or more are needed")
        rng = np.random.default_rng(5)
        drawn = [rng.permutation(len(units))[: 2 * GROUP] for _ in range(splits)]
        supported = places(results, task)
        found = [_found([units[place] for place in seeds], supported) for seeds in drawn]
        for key in found[0]:
            happened = np.array([outcome[key] for outcome in found])
            rates.append(NullRate(task, *key, float(happened.mean()), _error(happened, drawn, len(units)), splits, len(units)))
    return rates


def _found(units: list[Unit], supported: tuple[int, ...]) -> dict[tuple[str, str], bool]:
    """(score, question) -> whether the first GROUP units differ from the others."""
    groups = [tuple(unit._replace(seed=place) for place, unit in enumerate(part)) for part in (units[:GROUP], units[GROUP:])]
    intervals = TaskIntervals([Row(name, group, GROUP, ()) for name, group in zip("ab", groups, strict=True)], supported)
    masks, outcomes = draw_masks(len(units[0].counts)), {}
    for measure in [measure for measure in MEASURES if supported or measure == "accuracy"]:
        outcomes[measure, "models"] = p_value(intervals.swapped("a", measure, masks, minus="b")) <= 1 - LEVEL
        p = intervals.difference("a", measure, minus="b").recipe.p
        outcomes[measure, "recipe"] = p is not None and p <= 1 - LEVEL
    return outcomes


def _error(
    happened: np.ndarray[tuple[int], np.dtype[np.bool_]], drawn: list[np.ndarray[tuple[int], np.dtype[np.int64]]], num_seeds: int
) -> float:
    """The jackknife's standard error over seeds: splits share seeds, so they are not independent."""
    without = np.array([happened[[seed not in seeds for seeds in drawn]].mean() for seed in range(num_seeds)])
    return float(((num_seeds - 1) / num_seeds * ((without - without.mean()) ** 2).sum()) ** 0.5)
