"""Intervals and tests over source videos and seeds, because clips of one video are not independent, nor are rows that share clips and seeds.

Two questions are kept apart. *These models*: would the trained models score as they do on other videos of this kind? *The recipe*: would
training again, with other seeds, too? Every score here is q = sum over classes of a_k 2 TP_k / D_k, so that leaving a video out is a
subtraction of its counts. The procedures were chosen by simulation at this benchmark's shape; `python -m analysis calibrate` repeats it.
Legend: V source videos, L labels, K terms of a score, R rows that share S seeds, F folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from omnimer_ray.metrics import METRICS, Classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
LEVEL_TEXT = f"{100 * LEVEL:g} %"  # in headings, notes and figures
ONE_VIDEO = "one source video"
NO_VARIATION = "all source videos agree"
NO_CLASS = "no class has enough source videos"


class Counts(NamedTuple):
    """A score's terms by source video: q = sum of `weights` * 2 hits / mass, over the sums of all videos; 0 / 0 is 0."""

    hits: NDArray[Any]  # (..., V, K) right answers
    mass: NDArray[Any]  # (..., V, K) predictions + clips of a class; for accuracy twice the clips
    weights: NDArray[Any]  # (K,)
    support: NDArray[Any]  # (V, K) clips

    @property
    def score(self) -> Any:
        """(...)"""
        return _score(self.hits.sum(-2), self.mass.sum(-2), self.weights)

    @property
    def without_each_video(self) -> Any:
        """(..., V): the score of all videos but one."""
        hits, mass = (part.sum(-2, keepdims=True) - part for part in (self.hits, self.mass))
        return _score(hits, mass, self.weights)

    @property
    def influences(self) -> Any:
        """(..., V): pseudo-values of the delete-one-video jackknife, less their mean."""
        without = self.without_each_video
        return -(without.shape[-1] - 1) * (without - without.mean(-1, keepdims=True))

    @property
    def df(self) -> float:
        """Degrees of freedom of an interval over videos, from labels alone: the effective number of videos, less one."""
        totals = self.support.sum(0)
        share = ratio(self.support, totals)
        w = (ratio(self.weights**2, totals) * share).sum(-1)
        return float(w.sum() ** 2 / (w**2).sum() - 1) if w.any() else 0.0


class Estimate(NamedTuple):
    """A score or a difference with its interval at LEVEL; without an interval `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None  # of the t test that belongs to the interval, two-sided, not corrected
    reason: str | None = None

    def within(self, least: float) -> Estimate:
        """The same with the part of the interval that is possible: from `least` to 1."""
        return self if self.low is None or self.high is None else self._replace(low=max(self.low, least), high=min(self.high, 1.0))


def video_counts(*, gold: Sequence[str], predicted: Sequence[str | None], videos: Sequence[str], labels: Sequence[str]) -> NDArray[Any]:
    """(V, 3, L): per source video, in sorted order, the right answers, the predictions and the gold labels of each class."""
    row = {video: index for index, video in enumerate(sorted(set(videos)))}
    column = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(row), 3, len(column)))
    for truth, answer, video in zip(gold, predicted, videos, strict=True):
        counts[row[video], 2, column[truth]] += 1
        if answer is not None:  # an unparsed answer is no prediction of any class, and so wrong
            counts[row[video], 1, column[answer]] += 1
            counts[row[video], 0, column[answer]] += answer == truth
    return counts


def scores_of_counts(counts: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """(..., 3, L) counts -> scores, by the formulas of omnimer_ray.metrics."""
    classes = Classes(right=counts[..., 0, :], predicted=counts[..., 1, :], support=counts[..., 2, :])
    return {metric.name: metric.formula(classes) for metric in METRICS}


def accuracy_counts(counts: NDArray[Any]) -> Counts:
    """Accuracy of (..., V, 3, L) counts."""
    hits, _, support = (counts[..., part, :].sum(-1, keepdims=True) for part in range(3))
    return Counts(hits, 2 * support, np.ones(1), _labels(support))


def f1_counts(counts: NDArray[Any], classes: Sequence[int]) -> Counts:
    """Macro F1 of (..., V, 3, L) counts over some classes, by their places in L."""
    hits, predicted, support = (counts[..., part, :][..., list(classes)] for part in range(3))
    return Counts(hits, predicted + support, np.full(len(classes), 1 / max(len(classes), 1)), _labels(support))


def these_models(value: float, influences: NDArray[Any], df: float) -> Estimate:
    """A mean over seeds, or a difference of two, for these trained models; `influences` (V,) are means over seeds."""
    if reason := _no_interval(influences, df):
        return Estimate(value, reason=reason)
    return _estimate(value, video_variance(influences), df)


def video_variance(influences: NDArray[Any]) -> Any:
    """(..., V) -> (...): variance of a score between samples of videos."""
    num_videos = influences.shape[-1]
    return (influences**2).sum(-1) / (num_videos * (num_videos - 1))


class Recipe:
    """Intervals for the recipe, from rows that share two or more seeds: their spread over seeds is pooled."""

    def __init__(self, values: NDArray[Any], influences: NDArray[Any], df: float) -> None:
        """`values` (R, S), `influences` (R, S, V)."""
        self.values, self.influences, self.df = values, influences, df

    def combination(self, weights: NDArray[Any]) -> Estimate:
        """The weighted sum (R,) of the means of the rows: a row, or a contrast, whose weights add up to 0."""
        value, influences = float(weights @ self.values.mean(1)), np.tensordot(weights, self.influences.mean(1), 1)
        if reason := _no_interval(influences, self.df):
            return Estimate(value, reason=reason)
        (num_rows, num_seeds, num_videos), videos = self.influences.shape, video_variance(influences)
        paired, factor = _is_contrast(weights), (weights**2).sum()
        df = (num_rows - paired) * (num_seeds - 1)
        seeds = factor * (_centred(self.values, paired) ** 2).sum() / (df * num_seeds)
        both = factor * (_centred(self.influences, paired) ** 2).sum() / (df * (num_videos - 1) * num_videos * num_seeds)
        excess = seeds if seeds > both else 0.0  # of the spread over seeds, what the videos do not explain
        variance = videos + max(0.0, seeds - both)
        return _estimate(value, variance, (videos + excess) ** 2 / (videos**2 / self.df + excess**2 / df))


class FoldedRecipe:
    """Intervals for the recipe from grouped folds and one seed: the fold is the only replicate of training."""

    def __init__(self, values: NDArray[Any], influences: NDArray[Any], folds: NDArray[Any], df: float) -> None:
        """`values` (R,), `influences` (R, V), `folds` (V,): the fold of each video."""
        self.values, self.influences, self.df = values, influences, df
        self.numbers = np.unique(folds)
        self.parts = np.stack([influences[:, folds == fold].sum(1) for fold in self.numbers], 1) / influences.shape[1]  # (R, F)

    def combination(self, weights: NDArray[Any]) -> Estimate:
        """The weighted sum (R,) of the rows' scores: a row, or a contrast, whose weights add up to 0."""
        value, influences, parts = float(weights @ self.values), weights @ self.influences, weights @ self.parts
        if reason := _no_interval(influences, self.df):
            return Estimate(value, reason=reason)
        num_rows, num_folds = self.parts.shape
        paired = _is_contrast(weights)
        df = (num_rows - paired) * (num_folds - 1)
        own = num_folds / (num_folds - 1) * ((parts - parts.mean()) ** 2).sum()
        pooled = (weights**2).sum() * num_folds * (_centred(self.parts, paired) ** 2).sum() / df
        videos = float(video_variance(influences))
        variance = max(videos, own, pooled)
        return _estimate(value, variance, self.df if variance == videos else df)


def _is_contrast(weights: NDArray[Any]) -> bool:
    return abs(float(weights.sum())) < 1e-9


def _labels(support: NDArray[Any]) -> Any:
    """(V, K) of (..., V, K): the labels are the same for all rows and seeds."""
    return support[(0,) * (support.ndim - 2)]


def ratio(numerator: Any, denominator: Any) -> Any:
    """0 / 0 is 0."""
    return np.divide(numerator, denominator, out=np.zeros(np.broadcast(numerator, denominator).shape), where=np.asarray(denominator) > 0)


def _score(hits: NDArray[Any], mass: NDArray[Any], weights: NDArray[Any]) -> Any:
    return (weights * ratio(2 * hits, mass)).sum(-1)


def _centred(values: NDArray[Any], paired: bool) -> Any:
    """(R, S, ...) without the row's mean and, between rows, without the seed's."""
    rows = values - values.mean(1, keepdims=True)
    return rows - rows.mean(0, keepdims=True) if paired else rows


def _no_interval(influences: NDArray[Any], df: float) -> str | None:
    if len(influences) < 2 or df <= 0:
        return ONE_VIDEO
    return None if np.abs(influences).max() > 1e-12 else NO_VARIATION


def _estimate(value: float, variance: float, df: float) -> Estimate:
    from scipy.stats import t

    error = float(variance) ** 0.5
    half = float(t.ppf((1 + LEVEL) / 2, df)) * error
    return Estimate(value, value - half, value + half, float(2 * t.sf(abs(value) / error, df)))
