"""How well the intervals and tests keep their promises at a corpus's shape, and what they can find: simulated tables, counted.

`calibrate` draws tables without any effect: shares of false finds, and of intervals that hold the truth. `power` draws tables with effects.
Legend: R rows, the baseline first; S seeds, F folds, V source videos, L labels.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.intervals import MEASURES, PRIMARY
from analysis.simulation import Shape, answers, counts_of, draw_seed_effects
from analysis.statistics import LEVEL, Counts, Estimate, FoldedRecipe, Recipe, accuracy_counts, f1_counts, these_models
from analysis.swap_test import draw_masks, holm, p_value, step_down, swap_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHA = 1 - LEVEL
ROWS = 7  # the baseline and six contrasts
FULL = "macro_f1"  # tested, but without an interval
FAMILY_EVERY = 10  # one in so many tables tests all contrasts: swapping takes most of the time
CHUNK = 20  # tables of one task of a process
POPULATION = (20, 2_000)  # draws of seeds, and of videos for each
GAINS = (0.1, 0.2, 0.35, 0.55, 0.8, 1.2, 1.8)  # effects of `power`, in units of a utility
POWER_TABLES = 100  # for each effect
POWER = 0.8

Outcome = tuple[tuple[str, str], float]  # (score, quantity), and what happened in one table


class Design(NamedTuple):
    """How a sweep scores its rows."""

    num_videos: int
    num_seeds: int
    num_folds: int = 1

    @property
    def text(self) -> str:
        """For headings and progress."""
        protocol = f"{self.num_folds} folds" if self.num_folds > 1 else "one split"
        return f"{protocol} of {self.num_videos} videos, {self.num_seeds} seed{'s' * (self.num_seeds > 1)}"


class Task(NamedTuple):
    """A task's labels by video, and the classes of its primary score by their places."""

    name: str
    shape: Shape
    supported: tuple[int, ...]

    def terms(self, counts: NDArray[Any], score: str | int) -> Counts:
        """The terms of a score, or of the F1 of a class by its place."""
        if isinstance(score, int):
            return f1_counts(counts, (score,))
        if score == "accuracy":
            return accuracy_counts(counts)
        return f1_counts(counts, self.supported if score == PRIMARY else range(self.shape.num_labels))

    @property
    def scores(self) -> tuple[str, ...]:
        """Those with intervals that this task has."""
        return tuple(score for score in MEASURES if score != PRIMARY or self.supported)


class Rate(NamedTuple):
    """A share of tables."""

    score: str
    quantity: str
    share: float
    error: float  # standard error
    tables: int


def calibrate(task: Task, design: Design, tables: int, progress: Callable[[str], None]) -> list[Rate]:
    """Rates of tables whose rows do not differ; the same for any number of processes."""
    tally = defaultdict[tuple[str, str], list[float]](list)
    targets = {score: _targets(task, design, score) for score in task.scores}
    for key, happened in _tables(partial(_null_table, task, design, targets), tables, f"{task.name}, {design.text}", progress):
        tally[key].append(happened)
    return [Rate(*key, float(np.mean(found)), float(np.std(found) / len(found) ** 0.5), len(found)) for key, found in tally.items()]


def power(task: Task, design: Design, progress: Callable[[str], None]) -> dict[tuple[str | int, str], float | None]:
    """(score, question) -> the difference that one contrast finds with a probability of POWER, in points; None if no simulated one is that large.

    Beside the scores the F1 of each supported class, by its place.
    """
    found = {}
    curves = defaultdict[tuple[str | int, str], list[tuple[float, float]]](list)
    jobs = partial(_effect_table, task, design)
    outcomes = defaultdict[tuple[str | int, str, int], list[tuple[float, float]]](list)
    for (score, question), packed in _tables(jobs, len(GAINS) * POWER_TABLES, f"power, {task.name}, {design.text}", progress):
        place, difference, is_found = packed
        outcomes[score, question, place].append((difference, is_found))
    for (score, question, _), pairs in outcomes.items():
        difference, share = np.mean(pairs, axis=0)
        curves[score, question].append((100 * float(difference), float(share)))
    for key, points in curves.items():
        found[key] = _crossing(sorted(points))
    return found


def _crossing(points: Sequence[tuple[float, float]]) -> float | None:
    """Where a rising line through (difference, share) crosses POWER."""
    before = (0.0, ALPHA)
    for difference, share in points:
        if share >= POWER:
            return before[0] + (difference - before[0]) * (POWER - before[1]) / (share - before[1])
        before = (difference, share) if share > before[1] else before
    return None


def _tables(table: Callable[[int], list[Any]], number: int, name: str, progress: Callable[[str], None]) -> Iterator[Any]:
    """The outcomes of all tables in their order, on all cores."""
    parts = [range(first, min(first + CHUNK, number)) for first in range(0, number, CHUNK)]
    began = told = time.monotonic()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for part, outcomes in zip(parts, pool.map(partial(_chunk, table), parts), strict=True):
            yield from outcomes
            if time.monotonic() - told > 15:
                told = time.monotonic()
                left = (told - began) * (number - part.stop) / part.stop
                progress(f"{name}: {part.stop} of {number} tables, about {left / 60:.0f} min left")


def _chunk(table: Callable[[int], list[Any]], numbers: range) -> list[Any]:
    return [outcome for number in numbers for outcome in table(number)]


def _draw(task: Task, design: Design, rng: np.random.Generator, gains: Sequence[float], trained: NDArray[Any]) -> NDArray[Any]:
    """(R, S, V, 3, L): the counts of one table on videos drawn anew."""
    gold, videos = task.shape.draw(rng, design.num_videos)
    return counts_of(answers(rng, task.shape, gold, videos, gains, trained), gold, videos, task.shape.num_labels)


def _same_models(task: Task, design: Design) -> NDArray[Any]:
    """The same trained models in every row and table: under the first question rows must not differ."""
    one = draw_seed_effects(np.random.default_rng(2), 1, design.num_seeds, task.shape.num_labels, design.num_folds)
    return np.repeat(one, ROWS, 0)


def _targets(task: Task, design: Design, score: str) -> tuple[float, float]:
    """The score of all videos of this kind: of the models of `_same_models`, and as a mean over seeds."""
    rng, (num_draws, num_videos) = np.random.default_rng(1), POPULATION
    population = design._replace(num_videos=num_videos)
    sums, seeds = [], []
    for _ in range(num_draws):
        models = task.terms(_draw(task, population, rng, [0.0], _same_models(task, design)[:1]), score)
        sums.append((models.hits.sum(-2), models.mass.sum(-2)))
        trained = draw_seed_effects(rng, 1, 5 * design.num_seeds, task.shape.num_labels, design.num_folds)
        seeds.append(float(task.terms(_draw(task, population, rng, [0.0], trained), score).score.mean()))
    hits, mass = (sum(part) for part in zip(*sums, strict=True))
    return float((models.weights * 2 * hits / mass).sum(-1).mean()), float(np.mean(seeds))


def _null_table(task: Task, design: Design, targets: dict[str, tuple[float, float]], number: int) -> list[Outcome]:
    rng = np.random.default_rng((3, number))
    same = _draw(task, design, rng, [0.0] * ROWS, _same_models(task, design))
    trained = draw_seed_effects(rng, ROWS, design.num_seeds, task.shape.num_labels, design.num_folds)
    again = _draw(task, design, rng, [0.0] * ROWS, trained)
    family, found = number % FAMILY_EVERY == 0, list[Outcome]()
    tested = task.scores if len(task.supported) == task.shape.num_labels else (*task.scores, FULL)
    for score in tested:
        found += _tested(task.terms(same, score), score, family)
        if score in targets:
            models, recipe = targets[score]
            found += _covered_models(task.terms(same, score), score, models)
            found += _covered_recipe(_recipe(task.terms(again, score), design), score, recipe)
    return found


def _tested(terms: Counts, score: str, family: bool) -> Iterator[Outcome]:
    masks = draw_masks(terms.hits.shape[-2])
    baseline, *others = (terms._replace(hits=terms.hits[row], mass=terms.mass[row]) for row in range(ROWS))
    statistics = [swap_statistics(other, minus=baseline, masks=masks) for other in (others if family else others[:1])]
    yield (score, "models: test rejects"), p_value(statistics[0]) <= ALPHA
    if family:
        yield (score, "models: a false find in six contrasts"), min(step_down(np.stack(statistics))) <= ALPHA


def _covered_models(terms: Counts, score: str, target: float) -> Iterator[Outcome]:
    values, influences = terms.score.mean(1), terms.influences.mean(1)
    yield (score, "models: interval of a row covers"), _covers(these_models(values[0], influences[0], terms.df), target)
    difference = these_models(values[1] - values[0], influences[1] - influences[0], terms.df)
    yield (score, "models: interval of a difference covers"), _covers(difference, 0.0)


def _covered_recipe(recipe: Recipe | FoldedRecipe | None, score: str, target: float) -> Iterator[Outcome]:
    if recipe is None:
        return
    rows = np.eye(ROWS)
    differences = [recipe.combination(rows[row] - rows[0]) for row in range(1, ROWS)]
    yield (score, "recipe: interval of a row covers"), _covers(recipe.combination(rows[0]), target)
    yield (score, "recipe: interval of a difference covers"), _covers(differences[0], 0.0)
    yield (score, "recipe: test rejects"), _rejects(differences[0])
    yield (score, "recipe: a false find in six contrasts"), min(holm([found.p or 1.0 for found in differences])) <= ALPHA


def _recipe(terms: Counts, design: Design) -> Recipe | FoldedRecipe | None:
    """None if the design does not train twice."""
    if design.num_seeds > 1:
        return Recipe(terms.score, terms.influences, terms.df)
    if design.num_folds > 1:
        folds = np.arange(design.num_videos) % design.num_folds
        return FoldedRecipe(terms.score[:, 0], terms.influences[:, 0], folds, terms.df)
    return None


def _effect_table(task: Task, design: Design, number: int) -> list[Any]:
    """A table whose second row is better: what it measures, and whether each question's t test finds it."""
    place, rng = number // POWER_TABLES, np.random.default_rng((4, number))
    gains = [0.0, GAINS[place], *[0.0] * (ROWS - 2)]
    trained = draw_seed_effects(rng, ROWS, design.num_seeds, task.shape.num_labels, design.num_folds)
    counts, found = _draw(task, design, rng, gains, trained), list[Any]()
    measures: list[str | int] = [*task.scores, *task.supported]
    for score in measures:
        terms = task.terms(counts, score)
        values, influences = terms.score.mean(1), terms.influences.mean(1)
        value = float(values[1] - values[0])
        models = these_models(value, influences[1] - influences[0], terms.df)
        found.append(((score, "models"), (place, value, _rejects(models))))
        if (recipe := _recipe(terms, design)) is not None:
            found.append(((score, "recipe"), (place, value, _rejects(recipe.combination(np.eye(ROWS)[1] - np.eye(ROWS)[0])))))
    return found


def _covers(found: Estimate, target: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= target <= found.high


def _rejects(found: Estimate) -> bool:
    return found.p is not None and found.p <= ALPHA
