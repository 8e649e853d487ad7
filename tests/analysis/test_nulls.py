"""Real nulls: equal seeds are found rarely, seeds of two kinds often."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from results_folders import row, write_clips, write_plan, write_run

from analysis import load
from analysis.nulls import MIN_SEEDS, real_null
from analysis.power import null_lines
from omnimer_ray.corpora.clips import SENTIMENTS
from omnimer_ray.errors import ResultsError

ROOT = Path(__file__).parents[2]


def seeds_of(folder: Path, skill: list[float]) -> Path:
    """Base with seeds that have a clip right with such a chance; 12 videos with 4 clips each."""
    clips = {f"c{video:02d}{place}": (f"v{video:02d}", SENTIMENTS[(video + place) % 3]) for video in range(12) for place in range(4)}
    write_clips(
        folder, [{"clip": clip, "split": "validation", "source_video": video, "sentiment": gold} for clip, (video, gold) in clips.items()]
    )
    rows = [row("Base", "sentiment", seed) for seed in range(len(skill))]
    write_plan(folder, ["Base"], ["sentiment"], rows)
    rng = np.random.default_rng(0)
    for planned, chance in zip(rows, skill, strict=True):
        write_run(folder, planned, {clip: (gold, gold if rng.random() < chance else "neutral") for clip, (_, gold) in clips.items()})
    return folder


def test_equal_seeds_are_rarely_told_apart(tmp_path: Path) -> None:
    rates = {(rate.score, rate.question): rate for rate in real_null(load(seeds_of(tmp_path, [0.6] * 10)), "Base", 100)}
    assert set(rates) == {(score, question) for score in ("supported_macro_f1", "accuracy") for question in ("models", "recipe")}
    assert all(rate.share < 0.2 and rate.error < 0.2 and rate.seeds == 10 for rate in rates.values())
    lines = list(null_lines(list(rates.values())))
    assert lines[0] == "100 splits of 10 seeds, 3 against 3, on the same clips: a difference is found in"
    assert lines[1].startswith("  sentiment  macro F1 (supported)    these models (swap test)  ")


def test_models_of_two_kinds_are_told_apart_more_often_than_the_recipe(tmp_path: Path) -> None:
    """Half of the seeds are bad: groups of models differ; the recipe is the same, and its spread over seeds is seen."""
    rates = {
        rate.question: rate.share for rate in real_null(load(seeds_of(tmp_path, [0.95, 0.2] * 5)), "Base", 100) if rate.score == "accuracy"
    }
    assert rates["models"] > 0.4
    assert rates["recipe"] < 0.2


def test_too_few_seeds_are_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=rf"row 'Base' has 3 finished seeds for sentiment; {MIN_SEEDS} or more are needed"):
        real_null(load(seeds_of(tmp_path, [0.5] * 3)), "Base")


@pytest.mark.slow
def test_the_recipes_test_holds_its_level_on_seeds_that_were_trained(tmp_path: Path) -> None:
    """24 seeds of Base on mini: about 20 minutes on two cores."""
    command = [sys.executable, "-m", "omnimer_ray.sweep", "tests/base_seeds.py", "--seeds", "24", "--results", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    for rate in real_null(load(tmp_path / "base_seeds" / "mini-tiny"), "Base"):
        assert rate.seeds == 24
        assert rate.question == "models" or rate.share < 0.05 + 2 * rate.error, rate
