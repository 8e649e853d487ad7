"""The swap test against a plain computation with swapped answers, and its corrections against hand-made numbers."""

from __future__ import annotations

import numpy as np
import pytest
from test_statistics import counted, made

from analysis.statistics import accuracy_counts, f1_counts
from analysis.swap_test import MASKS, draw_masks, holm, p_value, step_down, swap_statistics

CLASSES = (0, 2)


def test_masks_are_drawn_once_and_the_first_swaps_nothing() -> None:
    masks = draw_masks(7)
    assert masks.shape == (MASKS, 7)
    assert not masks[0].any()
    assert set(np.unique(masks)) == {0, 1}
    assert masks[1:].mean() == pytest.approx(0.5, abs=0.02)
    draw_masks.cache_clear()
    assert np.array_equal(masks, draw_masks(7))
    with pytest.raises(ValueError, match="read-only"):
        masks[0] = 1


def test_each_statistic_is_the_studentised_difference_of_the_swapped_rows() -> None:
    gold, _, videos = made(6, 5)
    one, other = (np.stack([counted(gold, made(6, 5, seed)[1], videos) for seed in seeds]) for seeds in ((1, 2), (3, 4)))
    masks = draw_masks(6, num_masks=9)
    found = swap_statistics(f1_counts(one, CLASSES), minus=f1_counts(other, CLASSES), masks=masks)
    for mask, statistic in zip(masks, found, strict=True):
        swap = mask.astype(bool)
        rows = [np.where(swap[:, None, None], b, a) for a, b in zip((*one, *other), (*other, *one), strict=True)]
        terms = [f1_counts(row, CLASSES) for row in rows]
        influence = np.zeros(6)
        for sign, term in zip((1, 1, -1, -1), terms, strict=True):
            mass = term.mass.sum(0)
            f1 = 2 * term.hits.sum(0) / mass
            influence += sign * ((2 * term.hits - f1 * term.mass) / mass * term.weights).sum(1) / 2
        difference = sum(sign * term.score for sign, term in zip((1, 1, -1, -1), terms, strict=True)) / 2
        assert statistic == pytest.approx(difference / (influence**2).sum() ** 0.5)


def test_equal_rows_are_never_told_apart() -> None:
    gold, predicted, videos = made(6, 5)
    same = accuracy_counts(counted(gold, predicted, videos)[None])
    assert p_value(swap_statistics(same, minus=same, masks=draw_masks(6))) == 1


def test_a_row_that_is_better_in_every_video_is_found() -> None:
    gold, predicted, videos = made(12, 6)
    better, worse = (accuracy_counts(counted(gold, answers, videos)[None]) for answers in (list(gold), predicted))
    assert p_value(swap_statistics(better, minus=worse, masks=draw_masks(12))) < 0.01
    assert p_value(swap_statistics(worse, minus=better, masks=draw_masks(12))) < 0.01


def test_step_down_compares_with_the_largest_of_what_is_left() -> None:
    statistics = np.array([[3.0, 1.0, -2.0, 0.5], [1.0, 0.0, 2.5, 0.5], [-2.0, 1.0, 0.0, 4.0]])
    assert step_down(statistics) == [0.5, 0.75, 0.75], (
        "3 among 3, 1, 2.5, 4; 2 among 2, 1, 2.5, 4; 1 among 1, 0, 2.5, 0.5, but not below the one before"
    )
    assert step_down(np.array([[1.0, 2.0]])) == [1.0]


def test_holm_corrects_and_never_falls() -> None:
    p = [0.01, 0.04, 0.03, 0.9]
    assert holm(p) == pytest.approx([0.04, 0.09, 0.09, 0.9])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
