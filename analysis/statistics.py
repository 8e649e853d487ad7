"""Intervals by cluster bootstrap: whole source videos are resampled, because clips of one video are not independent.

Scores depend on counts alone, so a resample is a weighted sum of per-video counts, and 10,000 of them are one matrix product.
Legend: V source videos, L labels, R resamples. The intervals are about *other videos, for these trained models*; seeds are not resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from omnimer_ray.metrics import METRICS, Classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 10_000  # 1,000 would have a standard error of .7 points
LEVEL = 0.95
LEVEL_TEXT = f"{100 * LEVEL:g} %"  # in headings, notes and figures
BOOTSTRAP_SEED = 0  # one seed for all rows: they use the same resamples, so differences between rows are paired


class Interval(NamedTuple):
    """Percentile interval at `LEVEL`."""

    low: float
    high: float


Samples = dict[str, "NDArray[Any]"]  # by the names of METRICS, scores of every resample, each (R,)


@lru_cache(maxsize=4)
def draw_weights(num_videos: int, resamples: int = RESAMPLES, seed: int = BOOTSTRAP_SEED) -> NDArray[Any]:
    """(R, V): number of times that each video occurs in each resample of V videos drawn with replacement."""
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(num_videos, np.full(num_videos, 1 / num_videos), size=resamples).astype(np.float64)
    weights.flags.writeable = False  # shared by all callers
    return weights


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


def scores_of_counts(counts: NDArray[Any]) -> Samples:
    """(..., 3, L) counts -> scores, by the formulas of omnimer_ray.metrics."""
    classes = Classes(right=counts[..., 0, :], predicted=counts[..., 1, :], support=counts[..., 2, :])
    return {metric.name: metric.formula(classes) for metric in METRICS}


def resampled(counts: Sequence[NDArray[Any]], weights: NDArray[Any]) -> Samples:
    """The mean score over seeds in each resample; `counts` holds one (V, 3, L) per seed, `weights` is (R, V)."""
    seeds = [scores_of_counts(np.tensordot(weights, one, axes=1)) for one in counts]  # sums of whole numbers: exact on any machine
    return {metric.name: np.mean([seed[metric.name] for seed in seeds], axis=0) for metric in METRICS}


def interval(samples: NDArray[Any]) -> Interval:
    """The middle LEVEL of the samples."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
