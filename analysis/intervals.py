"""A task's rows with what is known about them: scores, differences, intervals for both questions, and tests of the registered contrasts.

*These models* are the trained ones on other videos of this kind; *the recipe* is training again, with other seeds, too: it needs two seeds, or folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.folder import Results
from analysis.statistics import NO_CLASS, Counts, Estimate, FoldedRecipe, Recipe, accuracy_counts, f1_counts, these_models
from analysis.swap_test import draw_masks, holm, p_value, step_down, swap_statistics
from analysis.units import Row, Unit, scored_clips, task_rows
from omnimer_ray.corpora.clips import LABELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_VIDEOS = 10  # source videos of a class that is in the primary score
PRIMARY = "supported_macro_f1"
MEASURES = {PRIMARY: "macro F1 (supported)", "accuracy": "accuracy"}  # scores with intervals, and their headings
ONE_SEED = "one seed: training again is not sampled"
NOT_TRAINED = "nothing is trained"
UNFINISHED = "not all seeds are finished"


class Estimates(NamedTuple):
    """The two questions about one score or difference."""

    models: Estimate
    recipe: Estimate


NOTHING = Estimates(*[Estimate(None, reason=NO_CLASS)] * 2)


class Tested(NamedTuple):
    """p-values of one contrast on the primary score, corrected over the family if it belongs to it; None where there is no test."""

    models: float | None
    recipe: float | None
    corrected: bool


class TaskIntervals:
    """Intervals of a task's rows; `rows` may be other rows than those of the plan, on the same clips.

    `measure` is a score of MEASURES, macro F1, or the place of a class among the labels, for its F1.
    """

    def __init__(self, rows: Sequence[Row], supported: Sequence[int]) -> None:
        self.rows, self.supported = {row.variant: row for row in rows}, tuple(supported)
        trained = [row for row in rows if _seeds(row)]
        self.seeds = max(map(_seeds, trained), key=len, default=())
        self.shared = [row for row in trained if _seeds(row) == self.seeds]

    def row(self, variant: str, measure: str | int) -> Estimates:
        """The mean over a row's finished seeds, which has one at least."""
        row = self.rows[variant]
        terms = self._terms(row.units, measure)
        if not len(terms.weights):
            return NOTHING
        value = float(terms.score.mean())
        models = these_models(value, terms.influences.mean(0), terms.df)
        return Estimates(models.within(0), self._trained(value, measure, {variant: 1.0}).within(0))

    def difference(self, variant: str, measure: str | int, *, minus: str) -> Estimates:
        """One row less another, over the seeds that both have, which are one at least."""
        mine, theirs = self.rows[variant], self.rows[minus]
        one, other = (self._terms(units, measure) for units in paired(mine, theirs))
        if not len(one.weights):
            return NOTHING
        value = float(one.score.mean() - other.score.mean())
        models = these_models(value, (one.influences - other.influences).mean(0), one.df)
        return Estimates(models.within(-1), self._trained(value, measure, {variant: 1.0, minus: -1.0}).within(-1))

    def contrast(self, weights: Mapping[str, float], measure: str | int) -> Estimates:
        """A weighted sum of rows that share their seeds; the weights add up to 0."""
        terms = {variant: self._terms(self.rows[variant].units, measure) for variant in weights}
        df = next(iter(terms.values())).df
        value = sum(weight * float(terms[variant].score.mean()) for variant, weight in weights.items())
        influences = sum(weight * terms[variant].influences.mean(0) for variant, weight in weights.items())
        return Estimates(these_models(value, influences, df), self._trained(value, measure, weights))

    def values(self, variant: str, measure: str | int) -> list[float]:
        """The score of each finished seed; none if no class is supported."""
        terms = self._terms(self.rows[variant].units, measure)
        return [float(value) for value in terms.score] if len(terms.weights) else []

    def swapped(self, variant: str, measure: str | int, masks: NDArray[Any], *, minus: str) -> NDArray[Any]:
        """(M,): statistics of the swap test of a contrast."""
        one, other = (self._terms(units, measure) for units in paired(self.rows[variant], self.rows[minus]))
        return swap_statistics(one, minus=other, masks=masks)

    def without_each_video(self, variant: str, measure: str | int, *, minus: str) -> tuple[float, NDArray[Any]]:
        """The difference, and (V,) what it is without each source video."""
        one, other = (self._terms(units, measure) for units in paired(self.rows[variant], self.rows[minus]))
        without = (one.without_each_video - other.without_each_video).mean(0)
        return float(one.score.mean() - other.score.mean()), without

    def can_compare(self, variant: str, reference: str) -> bool:
        """Whether both rows are here, with a seed in common."""
        return {variant, reference} <= self.rows.keys() and bool(paired(self.rows[variant], self.rows[reference])[0])

    def _terms(self, units: Sequence[Unit], measure: str | int) -> Counts:
        counts = np.stack([unit.counts for unit in units])
        if isinstance(measure, int):
            return f1_counts(counts, (measure,))
        if measure == "accuracy":
            return accuracy_counts(counts)
        return f1_counts(counts, self.supported if measure == PRIMARY else range(counts.shape[-1]))

    def _trained(self, value: float, measure: str | int, weights: Mapping[str, float]) -> Estimate:
        """What is known of a weighted sum of rows as a recipe."""
        rows = [self.rows[variant] for variant in weights]
        recipe, why = self._recipe(measure, rows)
        if recipe is None:
            return Estimate(value, reason=why)
        placed = np.zeros(len(self.shared))
        for row, weight in zip(rows, weights.values(), strict=True):
            placed[self.shared.index(row)] += weight
        return recipe.combination(placed)

    def _recipe(self, measure: str | int, rows: Sequence[Row]) -> tuple[Recipe | FoldedRecipe | None, str | None]:
        """The pooled spread over seeds or folds that these rows belong to, or why there is none."""
        if any(unit.seed is None for row in rows for unit in row.units):
            return None, NOT_TRAINED
        if not all(row in self.shared for row in rows):
            return None, UNFINISHED
        every = [self._terms(row.units, measure) for row in self.shared]
        values, influences = np.stack([terms.score for terms in every]), np.stack([terms.influences for terms in every])
        folds = self.shared[0].units[0].folds
        if len(self.seeds) > 1:
            return (Recipe(values, influences, every[0].df), None) if len(rows) == 1 or len(self.shared) > 1 else (None, UNFINISHED)
        if folds is None:
            return None, ONE_SEED
        return FoldedRecipe(values[:, 0], influences[:, 0], np.array(folds), every[0].df), None


def _seeds(row: Row) -> tuple[int, ...]:
    """The seeds of a row that is trained, each once; none of any other row."""
    seeds = tuple(unit.seed for unit in row.units if unit.seed is not None)
    return seeds if len(set(seeds)) == len(row.units) else ()


def paired(one: Row, other: Row) -> tuple[list[Unit], list[Unit]]:
    """The units of two rows by seed; a unit without a seed (zero-shot, a reference row) goes with every seed of the other row."""
    pairs = [(mine, theirs) for mine in one.units for theirs in other.units if mine.seed == theirs.seed or None in (mine.seed, theirs.seed)]
    return [mine for mine, _ in pairs], [theirs for _, theirs in pairs]


def supported_classes(results: Results, task: str) -> tuple[str, ...]:
    """The classes that stand on MIN_VIDEOS source videos of the reported part: those of the primary score."""
    videos = videos_of_classes(results, task)
    return tuple(label for label in LABELS[task] if videos[label] >= MIN_VIDEOS)


def videos_of_classes(results: Results, task: str) -> dict[str, int]:
    """The source videos of each class in the clips that a task is scored on."""
    scored = scored_clips(results, task)
    return {label: scored.filter(scored[task] == label)["source_video"].n_unique() for label in LABELS[task]}


@lru_cache(maxsize=8)  # cached: every table, figure and page of a task uses the same intervals
def task_intervals(results: Results, task: str) -> TaskIntervals:
    """The intervals of the plan's rows of a task."""
    return TaskIntervals(task_rows(results, task), places(results, task))


def places(results: Results, task: str) -> tuple[int, ...]:
    """The supported classes by their places among the labels."""
    return tuple(LABELS[task].index(label) for label in supported_classes(results, task))


@lru_cache(maxsize=8)
def p_values(results: Results) -> dict[tuple[str, str, str], Tested]:
    """(task, row, reference) -> p-values on the primary score: the family corrected, every other contrast of the plan alone.

    Q1 by one set of swaps of videos for all tasks and contrasts, step-down max-T; Q2 by t tests, Holm.
    """
    contrasts = [
        (task, row, reference)
        for task in results.plan.tasks
        for row, reference in results.plan.compared
        if task_intervals(results, task).supported and task_intervals(results, task).can_compare(row, reference)
    ]
    names = sorted({video for task, *_ in contrasts for row in task_rows(results, task) for unit in row.units for video in unit.videos})
    masks, statistics, recipes = draw_masks(len(names)), {}, {}
    for task, row, reference in contrasts:
        intervals = task_intervals(results, task)
        here = {video for found in task_rows(results, task) for unit in found.units for video in unit.videos}
        columns = [place for place, name in enumerate(names) if name in here]
        statistics[task, row, reference] = intervals.swapped(row, PRIMARY, masks[:, columns], minus=reference)
        recipes[task, row, reference] = intervals.difference(row, PRIMARY, minus=reference).recipe.p
    trained = [key for key in contrasts if all(unit.seed is not None for unit in task_intervals(results, key[0]).rows[key[1]].units)]
    family = [key for key in trained if results.is_registered(*key[1:])]
    models = dict(zip(family, step_down(np.stack([statistics[key] for key in family])) if family else [], strict=True))
    tested = [(key, p) for key in family if (p := recipes[key]) is not None]
    recipe = dict(zip([key for key, _ in tested], holm([p for _, p in tested]), strict=True))
    return {
        key: Tested(models[key], recipe.get(key), corrected=True)
        if key in models
        else Tested(p_value(statistics[key]), recipes[key], False)
        for key in contrasts
    }
