"""Properties of the cluster bootstrap, and that its scores are those of scikit-learn."""

import random
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.render import DIFFERENCE_HEADINGS, HEADINGS
from analysis.statistics import LEVEL, LEVEL_TEXT, RESAMPLES, draw_weights, interval, resampled, scores_of_counts, video_counts
from omnimer_ray.corpora.clips import EMOTIONS, SENTIMENTS
from omnimer_ray.metrics import METRICS, scores

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
            videos.append(f"video{video}")
    return gold, predicted, videos


def counted(gold: list[str], predicted: list[str | None], videos: list[str]) -> NDArray[Any]:
    return video_counts(gold=gold, predicted=predicted, videos=videos, labels=SENTIMENTS)


@pytest.mark.parametrize("labels", [SENTIMENTS, EMOTIONS])
def test_counts_give_the_scores_of_the_metrics(labels: tuple[str, ...]) -> None:
    chance = random.Random(1)
    gold = chance.choices(labels, k=80)
    predicted = chance.choices([None, *labels], k=80)
    mine = scores_of_counts(video_counts(gold=gold, predicted=predicted, videos=[f"video{i % 9}" for i in range(80)], labels=labels).sum(0))
    theirs = scores(gold=gold, predicted=predicted, labels=labels)
    assert mine == pytest.approx(theirs.values, abs=1e-12)


def test_a_resample_is_the_score_of_the_drawn_videos() -> None:
    gold, predicted, videos = made(5, 4)
    weights = draw_weights(5, resamples=20, seed=3)
    samples = resampled([counted(gold, predicted, videos)], weights)
    for index, drawn in enumerate(weights):
        again = [i for i, video in enumerate(videos) for _ in range(int(drawn[int(video[-1])]))]
        theirs = scores(gold=[gold[i] for i in again], predicted=[predicted[i] for i in again], labels=SENTIMENTS)
        assert {name: values[index] for name, values in samples.items()} == pytest.approx(theirs.values, abs=1e-12)


def test_the_interval_agrees_with_all_27_resamples_of_three_videos() -> None:
    gold, predicted, videos = made(3, 2, seed=4)
    every = [[draw.count(video) for video in range(3)] for draw in product(range(3), repeat=3)]
    exact = resampled([counted(gold, predicted, videos)], np.array(every, dtype=float))["macro_f1"]
    drawn = resampled([counted(gold, predicted, videos)], draw_weights(3))["macro_f1"]
    assert interval(drawn) == (exact.min(), exact.max())  # either end has a chance of 1/27, more than 2.5 %
    assert drawn.mean() == pytest.approx(exact.mean(), abs=0.01)


def test_weights_are_drawn_with_replacement_and_always_the_same() -> None:
    weights = draw_weights(7)
    assert weights.shape == (RESAMPLES, 7)
    assert set(weights.sum(1)) == {7}
    assert weights.mean() == pytest.approx(1)
    draw_weights.cache_clear()
    assert np.array_equal(weights, draw_weights(7))
    with pytest.raises(ValueError, match="read-only"):
        weights[0, 0] = 9


def test_clips_of_one_video_are_no_independent_evidence() -> None:
    gold, predicted, videos = made(12, 20)
    apart = [f"clip{i:03d}" for i in range(len(gold))]
    clustered = interval(resampled([counted(gold, predicted, videos)], draw_weights(12))["accuracy"])
    single = interval(resampled([counted(gold, predicted, apart)], draw_weights(len(gold)))["accuracy"])
    assert clustered.high - clustered.low > 1.5 * (single.high - single.low)


def test_an_interval_contains_the_score_and_does_not_depend_on_the_order_of_clips() -> None:
    gold, predicted, videos = made(16, 6)
    point = scores(gold=gold, predicted=predicted, labels=SENTIMENTS).values["accuracy"]
    bounds = interval(resampled([counted(gold, predicted, videos)], draw_weights(16))["accuracy"])
    assert bounds.low < point < bounds.high
    order = random.Random(0).sample(range(len(gold)), len(gold))
    shuffled = video_counts(
        gold=[gold[i] for i in order], predicted=[predicted[i] for i in order], videos=[videos[i] for i in order], labels=SENTIMENTS
    )
    assert interval(resampled([shuffled], draw_weights(16))["accuracy"]) == bounds


def test_perfect_answers_and_a_single_video_have_no_spread() -> None:
    gold, predicted, videos = made(8, 3)
    assert interval(resampled([counted(gold, list(gold), videos)], draw_weights(8))["accuracy"]) == (1, 1)
    lone = interval(resampled([counted(gold, predicted, ["v"] * len(gold))], draw_weights(1))["macro_f1"])
    assert lone.low == lone.high == pytest.approx(scores(gold=gold, predicted=predicted, labels=SENTIMENTS).macro_f1)


def test_the_mean_over_seeds_is_taken_in_each_resample() -> None:
    one, other = (counted(*made(6, 5, seed)) for seed in (0, 1))
    weights = draw_weights(6, resamples=50)
    both = resampled([one, other], weights)["accuracy"]
    assert both == pytest.approx((resampled([one], weights)["accuracy"] + resampled([other], weights)["accuracy"]) / 2)


def test_ten_thousand_resamples_of_the_benchmarks_shape_take_no_seconds() -> None:
    counts = counted(*made(34, 10))
    began = time.perf_counter()
    resampled([counts], draw_weights(34, seed=99))
    assert time.perf_counter() - began < 2


def test_the_level_is_written_in_one_place() -> None:
    """Headings, notes and figures take LEVEL_TEXT, so that another level is a change of one line."""
    literal = f"{round(100 * LEVEL)} %"
    files = [path for path in (ROOT / "analysis").iterdir() if path.suffix in (".py", ".html")]
    assert [path.name for path in files if literal in path.read_text(encoding="utf-8")] == []
    assert literal == LEVEL_TEXT
    assert HEADINGS.count(literal) == DIFFERENCE_HEADINGS.count(literal) == sum(metric.has_interval for metric in METRICS)
