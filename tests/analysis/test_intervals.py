"""Both questions from records: which rows have which intervals, why not, and how contrasts are tested."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from analysis import load
from analysis.ablation import difference_table
from analysis.folder import Results
from analysis.intervals import NOT_TRAINED, ONE_SEED, PRIMARY, UNFINISHED, p_values, supported_classes, task_intervals
from analysis.notes import notes
from analysis.swap_test import holm
from analysis.sweep_tables import tables
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import REGISTRATION, registration_hash

CONTRASTS = [["Base + Text Aux", "Base"], ["All Aux (Hybrid)", "Base"]]


def registered_folder(folder: Path, **content: object) -> str:
    """Register two contrasts and write the hash into all records."""
    line = {
        "contrasts": CONTRASTS,
        "tasks": ["sentiment", "emotion"],
        "seeds": [0, 1, 2],
        "power": ["Little."],
        "date": "2026-11-27",
        **content,
    }
    line["hash"] = registration_hash(line)
    (folder / REGISTRATION).write_text(json.dumps(line) + "\n")
    for record in folder.glob("runs/*/record.json"):
        record.write_text(json.dumps({**json.loads(record.read_text()), "registration": line["hash"]}))
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, "reference": "Base", "contrasts": CONTRASTS}))
    return str(line["hash"])


@pytest.fixture(scope="module")
def three(realistic: Callable[..., Path]) -> Results:
    folder = realistic(seeds=(0, 1, 2))
    registered_folder(folder)
    return load(folder)


def test_a_class_is_supported_by_ten_videos(three: Results) -> None:
    videos = three.clips.filter(pl.col("split") == "validation").group_by("emotion").agg(pl.col("source_video").n_unique())
    expected = {label for label, count in videos.iter_rows() if count >= 10}
    assert set(supported_classes(three, "emotion")) == expected
    assert "neutral" in expected
    assert "surprise" not in expected


def test_the_recipe_has_an_interval_where_it_is_trained_more_than_once(three: Results, realistic: Callable[..., Path]) -> None:
    intervals = task_intervals(three, "sentiment")
    base, zero_shot = intervals.row("Base", PRIMARY), intervals.row("Zero-shot", PRIMARY)
    assert base.recipe.reason is None
    assert base.models.value == base.recipe.value
    assert (zero_shot.recipe.low, zero_shot.recipe.reason) == (None, NOT_TRAINED)
    assert zero_shot.models.low is not None
    assert intervals.difference("Base", "accuracy", minus="Zero-shot").recipe.reason == NOT_TRAINED
    once = task_intervals(load(realistic(seeds=(0,))), "sentiment")
    assert once.row("Base", PRIMARY).recipe.reason == ONE_SEED
    folded = task_intervals(load(realistic(seeds=(0,), folds=4)), "sentiment")
    assert folded.row("Base", PRIMARY).recipe.low is not None
    assert folded.difference("All Aux (Hybrid)", PRIMARY, minus="Base").recipe.p is not None


def test_a_row_with_fewer_seeds_has_no_interval_for_the_recipe(realistic: Callable[..., Path]) -> None:
    folder = realistic(seeds=(0, 1))
    results = load(folder)
    run = results.runs.filter((pl.col("variant") == "Base") & (pl.col("seed") == 1) & (pl.col("task") == "sentiment"))["signature"][0]
    (folder / "runs" / run / "record.json").unlink()
    assert task_intervals(load(folder), "sentiment").row("Base", PRIMARY).recipe.reason == UNFINISHED


def test_registered_contrasts_are_one_family_over_both_tasks(three: Results) -> None:
    found = p_values(three)
    family = {key: tested for key, tested in found.items() if tested.corrected}
    assert family.keys() == {(task, *pair) for task in ("sentiment", "emotion") for pair in CONTRASTS}
    alone = [task_intervals(three, task).difference(one, PRIMARY, minus=other).recipe.p or 1.0 for task, one, other in family]
    assert [tested.recipe for tested in family.values()] == pytest.approx(holm(alone))
    table = difference_table(three, "emotion")
    assert table["variant"].to_list()[:2] == ["Base + Text Aux", "All Aux (Hybrid)"], "registered contrasts come first"
    assert table["registered"].to_list()[:2] == [True, True]
    assert not table.filter(pl.col("variant") == "Zero-shot")["registered"][0]
    assert table.filter(pl.col("variant") == "Zero-shot")["p_models"][0] is not None
    page = tables(three)["emotion_differences.md"]
    assert "| Base + Text Aux \\* | Base |" in page
    assert "95 % recipe" in page
    assert "- Registered on 2026-11-27 (" in page


def test_a_planted_effect_is_found_with_its_sign(three: Results) -> None:
    """The rows of the realistic folder become better from left to right: Hybrid is far above Base."""
    found = p_values(three)["sentiment", "All Aux (Hybrid)", "Base"]
    assert found.models is not None
    assert found.models < 0.05
    up, down = (
        task_intervals(three, "sentiment").difference(one, "accuracy", minus=other).models
        for one, other in (("All Aux (Hybrid)", "Base"), ("Base", "All Aux (Hybrid)"))
    )
    assert up.low is not None
    assert up.low > 0
    assert down.high == pytest.approx(-up.low)


def test_runs_from_before_the_registration_are_exploratory(realistic: Callable[..., Path]) -> None:
    folder = realistic(seeds=(0, 1))
    assert any(line.startswith("No contrast is registered") for line in notes(load(folder), "emotion"))
    registered_folder(folder, seeds=[0])
    record = next(path for path in folder.glob("runs/*/record.json") if json.loads(path.read_text())["variant"] == "Base + Text Aux")
    record.write_text(json.dumps({**json.loads(record.read_text()), "registration": None}))
    results = load(folder)
    assert not results.is_registered("Base + Text Aux", "Base")
    assert results.is_registered("All Aux (Hybrid)", "Base")
    assert not results.is_registered("Base + Audio Aux", "Base"), "it is no registered contrast"
    line = next(line for line in notes(results, "emotion") if line.startswith("Registered on "))
    assert line.endswith(": 2 contrasts on 2 tasks. Little. Seeds added later: 1.")


def test_a_registration_that_was_changed_is_refused(realistic: Callable[..., Path]) -> None:
    folder = realistic(seeds=(0,))
    registered_folder(folder)
    path = folder / REGISTRATION
    text = path.read_text()
    path.write_text(text + '{"incomplete')
    assert len(load(folder).registrations) == 1
    path.write_text(text.replace("All Aux (Hybrid)", "All Aux (Multi-stage)"))
    with pytest.raises(
        ResultsError,
        match=r"registration\.jsonl, line 1: its hash is not that of its content; a registration may be added to, not changed$",
    ):
        load(folder)
