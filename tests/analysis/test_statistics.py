"""Scores, influences and intervals against plain computations; the promises of the intervals are in test_calibration.py."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from analysis.grids import DIFFERENCE_HEADINGS, HEADINGS
from analysis.intervals import MEASURES
from analysis.statistics import (
    LEVEL,
    LEVEL_TEXT,
    NO_VARIATION,
    ONE_VIDEO,
    Counts,
    Estimate,
    FoldedRecipe,
    Recipe,
    accuracy_counts,
    f1_counts,
    scores_of_counts,
    these_models,
    video_counts,
    video_variance,
)
from omnimer_ray.corpora.clips import EMOTIONS, SENTIMENTS
from omnimer_ray.metrics import scores

ROOT = Path(__file__).parent.parent.parent


def made(num_videos: int, per_video: int, seed: int = 0) -> tuple[list[str], list[str | None], list[str]]:
    """Clips whose videos differ in how well they are answered."""
    chance = random.Random(seed)
    gold, predicted, videos = [], [], []
    for video in range(num_videos):
        skill = chance.random()
        for _ in range(per_video):
            truth = chance.choice(SENTIMENTS)
            gold.append(truth)
            predicted.append(truth if chance.random() < skill else chance.choice([None, *SENTIMENTS]))
            videos.append(f"video{video:02d}")
    return gold, predicted, videos


def counted(gold: list[str], predicted: list[str | None], videos: list[str]) -> NDArray[Any]:
    return video_counts(gold=gold, predicted=predicted, videos=videos, labels=SENTIMENTS)


def models(num_rows: int, num_seeds: int, num_videos: int = 12, per_video: int = 6) -> tuple[Counts, NDArray[Any]]:
    """Accuracy of rows and seeds on the same clips."""
    chance = random.Random(5)
    gold, _, videos = made(num_videos, per_video)
    answers = [
        [[truth if chance.random() < 0.6 else chance.choice(SENTIMENTS) for truth in gold] for _ in range(num_seeds)]
        for _ in range(num_rows)
    ]
    counts = np.array([[counted(gold, seed, videos) for seed in row] for row in answers])  # type: ignore[arg-type]
    return accuracy_counts(counts), counts


def width(found: Estimate) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


@pytest.mark.parametrize("labels", [SENTIMENTS, EMOTIONS])
def test_counts_give_the_scores_of_the_metrics(labels: tuple[str, ...]) -> None:
    chance = random.Random(1)
    gold, predicted = chance.choices(labels, k=80), chance.choices([None, *labels], k=80)
    mine = scores_of_counts(video_counts(gold=gold, predicted=predicted, videos=[f"video{i % 9}" for i in range(80)], labels=labels).sum(0))
    assert mine == pytest.approx(scores(gold=gold, predicted=predicted, labels=labels).values, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_terms_give_scikit_learns_scores_of_all_classes_and_of_some(seed: int) -> None:
    gold, predicted, videos = made(9, 7, seed)
    counts, answers = counted(gold, predicted, videos), [answer or "unparsed" for answer in predicted]
    assert accuracy_counts(counts).score == pytest.approx(accuracy_score(gold, answers))
    for places in ((0, 1, 2), (0, 2), (1,)):
        names = [SENTIMENTS[place] for place in places]
        expected = f1_score(gold, answers, labels=names, average="macro", zero_division=0)
        assert f1_counts(counts, places).score == pytest.approx(expected)


def test_influences_are_what_leaving_a_video_out_changes() -> None:
    counts = counted(*made(7, 5))
    terms = f1_counts(counts, (0, 2))
    without = np.array([f1_counts(np.delete(counts, video, 0), (0, 2)).score for video in range(7)])
    assert terms.influences == pytest.approx(-6 * (without - without.mean()))
    assert accuracy_counts(counts).influences.sum() == pytest.approx(0, abs=1e-12)


def test_the_degrees_of_freedom_are_the_effective_number_of_videos_less_one() -> None:
    gold, predicted, videos = made(8, 4)
    assert accuracy_counts(counted(gold, predicted, videos)).df == pytest.approx(7), "videos of one size"
    doubled = [*gold, *[truth for truth, video in zip(gold, videos, strict=True) if video == "video00"] * 9]
    more = [*videos, *["video00"] * (len(doubled) - len(gold))]
    assert accuracy_counts(counted(doubled, list(doubled), more)).df < 2, "one video has most clips"
    support = np.array([[4.0, 0.0], [2.0, 3.0]])
    w = 0.25 * (np.array([4 / 6, 2 / 6]) / 6 + np.array([0, 1]) / 3)
    both = f1_counts(np.stack([support * 0, support * 0, support], 1), (0, 1))
    assert both.df == pytest.approx(w.sum() ** 2 / (w**2).sum() - 1)


def test_the_interval_of_equal_videos_is_that_of_a_mean() -> None:
    """With videos of one size the accuracy is the mean of the videos', so the interval is the ordinary t interval of a mean."""
    from scipy import stats

    gold, predicted, videos = made(10, 6)
    terms = accuracy_counts(counted(gold, predicted, videos))
    shares = [np.mean([a == b for a, b, c in zip(gold, predicted, videos, strict=True) if c == video]) for video in sorted(set(videos))]
    low, high = stats.t.interval(LEVEL, 9, np.mean(shares), stats.sem(shares))
    found = these_models(float(terms.score), terms.influences, terms.df)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p == pytest.approx(stats.ttest_1samp(shares, 0).pvalue)


def test_clips_of_one_video_are_no_independent_evidence() -> None:
    gold, predicted, videos = made(12, 20)
    clustered, single = (accuracy_counts(counted(gold, predicted, names)) for names in (videos, [f"{i:03d}" for i in range(len(gold))]))
    assert video_variance(clustered.influences) > 2 * video_variance(single.influences)


@pytest.mark.parametrize(
    ("gold", "videos", "reason"),
    [(["neutral"] * 6, list("aabbcc"), NO_VARIATION), (["neutral", "positive"], ["a", "a"], ONE_VIDEO)],
)
def test_no_interval_where_there_is_none_to_give(gold: list[str], videos: list[str], reason: str) -> None:
    terms = accuracy_counts(counted(gold, list(gold), videos))
    found = these_models(1.0, terms.influences, terms.df)
    assert (found.low, found.high, found.p, found.reason) == (None, None, None, reason)


def test_the_recipes_variance_is_that_of_videos_and_what_seeds_add() -> None:
    """The formulas, written out with loops, for a row and for a difference."""
    from scipy import stats

    terms, _ = models(3, 4)
    q, x = terms.score, terms.influences
    recipe = Recipe(q, x, terms.df)
    num_rows, num_seeds, num_videos = x.shape
    for paired in (False, True):
        mean = x[1].mean(0) - x[0].mean(0) if paired else x[1].mean(0)
        videos = (mean**2).sum() / (num_videos * (num_videos - 1))
        nu = (num_rows - 1) * (num_seeds - 1) if paired else num_rows * (num_seeds - 1)
        squares = both = 0.0
        for r in range(num_rows):
            for s in range(num_seeds):
                e = q[r, s] - q[r].mean() - ((q[:, s].mean() - q.mean()) if paired else 0)
                z = x[r, s] - x[r].mean(0) - ((x[:, s].mean(0) - x.mean((0, 1))) if paired else 0)
                squares, both = squares + e**2, both + (z**2).sum()
        factor = 2 if paired else 1
        seeds, shared = factor * squares / (nu * num_seeds), factor * both / (nu * (num_videos - 1) * num_videos * num_seeds)
        excess = seeds if seeds > shared else 0
        variance, df = videos + max(0, seeds - shared), (videos + excess) ** 2 / (videos**2 / terms.df + excess**2 / nu)
        half = stats.t.ppf(0.975, df) * variance**0.5
        found = recipe.combination(np.array([-1.0 if paired else 0.0, 1.0, 0.0]))
        value = q[1].mean() - q[0].mean() if paired else q[1].mean()
        assert (found.value, found.low, found.high) == pytest.approx((value, value - half, value + half))


def test_seeds_that_disagree_widen_the_recipes_interval_alone() -> None:
    terms, counts = models(2, 3)
    worse = counts.copy()
    worse[:, 1, :, 0] = 0  # the second seed of each row has nothing right
    again = accuracy_counts(worse)
    first = np.array([1.0, 0.0])
    one, other = (Recipe(found.score, found.influences, found.df).combination(first) for found in (terms, again))
    assert width(other) > 5 * width(one)


def test_with_folds_the_largest_of_three_variances_counts() -> None:
    terms, _ = models(3, 1)
    values, influences = terms.score[:, 0], terms.influences[:, 0]
    folds = np.arange(influences.shape[1]) % 3
    parts = np.array([[influences[row, folds == fold].sum() / influences.shape[1] for fold in range(3)] for row in range(3)])
    difference = parts[1] - parts[0]
    centred = parts - parts.mean(1, keepdims=True) - parts.mean(0) + parts.mean()
    options = {
        "videos": video_variance(influences[1] - influences[0]),
        "own": 3 / 2 * ((difference - difference.mean()) ** 2).sum(),
        "pooled": 2 * 3 * (centred**2).sum() / 4,
    }
    from scipy import stats

    largest = max(options, key=lambda name: options[name])
    half = stats.t.ppf(0.975, terms.df if largest == "videos" else 4) * options[largest] ** 0.5
    found = FoldedRecipe(values, influences, folds, terms.df).combination(np.array([-1.0, 1.0, 0.0]))
    assert width(found) == pytest.approx(2 * half)
    assert width(FoldedRecipe(values, influences, folds, terms.df).combination(np.array([0.0, 0.0, 1.0]))) > 0


def test_the_level_is_written_in_one_place() -> None:
    """Headings, notes and figures take LEVEL_TEXT, so that another level is a change of one line."""
    literal = f"{round(100 * LEVEL)} %"
    files = [path for path in (ROOT / "analysis").iterdir() if path.suffix in (".py", ".html")]
    assert [path.name for path in files if literal in path.read_text(encoding="utf-8")] == []
    assert literal == LEVEL_TEXT
    assert (HEADINGS.count(f"{literal} models"), DIFFERENCE_HEADINGS.count(f"{literal} models")) == (1, len(MEASURES))
