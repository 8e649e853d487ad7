"""Flips, single videos, the best of k, parts of the clips, cases: each against what can be counted by hand."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest
from results_folders import GOLD

from analysis import load
from analysis.best_of import best_of_table, expected_best
from analysis.cases import best_row, cases
from analysis.flips import flips, flips_table
from analysis.influence import influence_table
from analysis.intervals import PRIMARY
from analysis.slices import ALL_DIFFER, NONE_FITS, conflicts, slice_table, topics
from analysis.units import task_rows
from omnimer_ray.errors import ResultsError


def test_flips_are_the_clips_that_two_rows_answer_differently(small: Path) -> None:
    found = flips(load(small), "sentiment", "Base + Text Aux", minus="Base")
    assert found.select("clip", "gold", "answer", "other", "right").rows() == [
        ("v1", "negative", "negative", "neutral", "Base + Text Aux"),
        ("v4", "neutral", "neutral", "positive", "Base + Text Aux"),
    ]
    assert found["text"].to_list() == ["teks v1", "teks v4"]
    against = flips(load(small), "sentiment", "majority class", minus="Base")
    assert set(against["right"]) <= {"majority class", "Base", "none"}
    assert flips_table(load(small), "sentiment").equals(found), "the row without a result has none"


def test_a_row_that_is_not_there_is_named(small: Path) -> None:
    with pytest.raises(ResultsError, match="no row 'Bse' in the sentiment table; rows: majority class, class prior, Base, "):
        flips(load(small), "sentiment", "Bse", minus="Base")


def test_leaving_a_video_out_is_scoring_without_it(realistic: Callable[..., Path]) -> None:
    results = load(realistic())
    line = influence_table(results, "sentiment").filter(pl.col("variant") == "All Aux (Hybrid)").row(0, named=True)
    rows = {row.variant: row.units[0] for row in task_rows(results, "sentiment")}
    from sklearn.metrics import f1_score

    found = {}
    for left_out in sorted(set(rows["Base"].videos)):
        kept = [place for place, video in enumerate(rows["Base"].videos) if video != left_out]
        scored = [
            f1_score(
                [unit.gold[place] for place in kept],
                [unit.predicted[place] or "none" for place in kept],
                labels=["negative", "neutral", "positive"],
                average="macro",
            )
            for unit in (rows["All Aux (Hybrid)"], rows["Base"])
        ]
        found[left_out] = scored[0] - scored[1]
    assert line["lowest"] == pytest.approx(min(found.values()))
    assert line["highest"] == pytest.approx(max(found.values()))
    assert found[line["without_lowest"]] == pytest.approx(min(found.values()))
    assert line["other_sign"] == sum(value * line[PRIMARY] <= 0 for value in found.values())


def test_the_expected_best_is_the_mean_over_all_choices() -> None:
    values = [0.3, 0.7, 0.5, 0.5]
    for k in range(1, 5):
        chosen = [max(part) for part in combinations(values, k)]
        assert expected_best(values, k) == pytest.approx(sum(chosen) / len(chosen))


def test_best_of_needs_two_seeds(realistic: Callable[..., Path]) -> None:
    assert best_of_table(load(realistic()), "sentiment").is_empty()
    table = best_of_table(load(realistic(seeds=(0, 1, 2))), "sentiment").filter(pl.col("variant") == "Base")
    assert table["k"].to_list() == [1, 2, 3]
    assert table[PRIMARY].is_sorted()


def test_conflicts_and_topics_are_parts_of_the_scored_clips(realistic: Callable[..., Path]) -> None:
    results = load(realistic())
    parts = conflicts(results, "emotion")
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 96
    clips = {clip["clip"]: clip for clip in results.clips.iter_rows(named=True)}
    for clip in parts[NONE_FITS]:
        assert clips[clip]["sentiment"] not in {clips[clip][f"{name}_sentiment"] for name in ("text", "audio", "video")}
    assert ALL_DIFFER not in parts or all(
        len({clips[clip][f"{name}_sentiment"] for name in ("text", "audio", "video")}) == 3 for clip in parts[ALL_DIFFER]
    )
    table = slice_table(results, "emotion", parts).filter(pl.col("variant") == "Base")
    base = next(row.units[0] for row in task_rows(results, "emotion") if row.variant == "Base")
    right = sum(gold == answer for gold, answer in zip(base.gold, base.predicted, strict=True))
    assert (table["accuracy"] * table["clips"]).sum() == pytest.approx(right)
    assert topics(results, "emotion") == {}, "there is one topic"


def test_without_labels_of_modalities_there_are_no_conflicts(small: Path) -> None:
    assert conflicts(load(small), "sentiment") == {}
    assert slice_table(load(small), "sentiment", {}).is_empty()
    assert (
        slice_table(load(small), "sentiment", {"first": {"v0", "v1"}}).row(by_predicate=(pl.col("variant") == "Base"), named=True)[
            "accuracy"
        ]
        == 0.5
    )


def test_cases_show_both_rows_in_the_models_words(small: Path) -> None:
    results = load(small)
    assert best_row(results, "sentiment") == "Base + Text Aux"
    found = cases(results, "sentiment")
    assert {case["clip"] for case in found} == {"v1", "v4"}
    for case in found:
        reference, best = case["answers"]
        assert (reference["variant"], reference["right"], best["right"]) == ("Base", False, True)
        assert best["answer"] == GOLD[case["clip"]] == case["gold"]


def test_a_folder_without_a_reference_has_no_cases(small: Path) -> None:
    for run in (small / "runs").iterdir():
        (run / "record.json").unlink()
    assert cases(load(small), "sentiment") == []
