"""The paired test of these trained models: whole source videos are swapped between two rows, for a family of contrasts at once.

Under the null hypothesis the two rows of a contrast are exchangeable within each video. One set of masks serves all seeds, rows and contrasts, so
the largest statistic of each mask corrects for the number of contrasts (step-down max-T) without assuming that they are independent.
Legend: V source videos, K terms of a score, S seeds, M masks, C contrasts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.statistics import Counts, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

MASKS = 999  # the identity among them
MASK_SEED = 0


@lru_cache(maxsize=4)
def draw_masks(num_videos: int, num_masks: int = MASKS, seed: int = MASK_SEED) -> NDArray[Any]:
    """(M, V) of 0 and 1: which videos are swapped, each with a chance of one half; the first mask swaps none."""
    masks = np.random.default_rng(seed).integers(0, 2, (num_masks, num_videos)).astype(float)
    masks[0] = 0
    masks.flags.writeable = False  # shared by all callers
    return masks


def swap_statistics(one: Counts, *, minus: Counts, masks: NDArray[Any]) -> NDArray[Any]:
    """(M,): the studentised mean difference over seeds under each mask; `one` and `minus` have hits (S, V, K)."""
    difference, influence = np.zeros(len(masks)), np.zeros(masks.shape)
    num_seeds = len(one.hits)
    for seed in range(num_seeds):
        mine, theirs = ((counts.hits[seed], counts.mass[seed]) for counts in (one, minus))
        for sign, (kept, given) in ((1, (mine, theirs)), (-1, (theirs, mine))):
            hits, mass = (whole.sum(0) + masks @ (swapped - whole) for whole, swapped in zip(kept, given, strict=True))  # (M, K)
            f1, weight = ratio(2 * hits, mass), ratio(np.broadcast_to(one.weights, mass.shape), mass)
            difference += sign * f1 @ one.weights
            stay, move = (2 * weight @ part[0].T - (weight * f1) @ part[1].T for part in (kept, given))  # (M, V)
            influence += sign * np.where(masks > 0, move, stay)
    root = np.sqrt(((influence / num_seeds) ** 2).sum(-1))
    return np.where(root > 1e-12, difference / num_seeds / np.where(root > 1e-12, root, 1), 0)


def p_value(statistics: NDArray[Any]) -> float:
    """Of one contrast, uncorrected; `statistics` (M,), the first of them observed."""
    return float(np.mean(np.abs(statistics) >= abs(statistics[0]) - 1e-12))


def step_down(statistics: NDArray[Any]) -> list[float]:
    """Corrected p-values of (C, M) statistics: the largest observed is compared with the largest of every mask, and so on downwards."""
    sizes = np.abs(statistics)
    order = np.argsort(-sizes[:, 0], kind="stable")
    largest, corrected = np.zeros(sizes.shape[1]), dict[int, float]()
    for place in reversed(order.tolist()):
        largest = np.maximum(largest, sizes[place])
        corrected[place] = float(np.mean(largest >= sizes[place, 0] - 1e-12))
    bound, result = 0.0, [0.0] * len(sizes)
    for place in order.tolist():
        bound = max(bound, corrected[place])
        result[place] = bound
    return result


def holm(p_values: list[float]) -> list[float]:
    """Holm's correction of independent or dependent p-values."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    bound, result = 0.0, [0.0] * len(p_values)
    for rank, place in enumerate(order):
        bound = max(bound, min(1.0, (len(p_values) - rank) * p_values[place]))
        result[place] = bound
    return result
