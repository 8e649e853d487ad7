"""Effects from settings: planted ones come back, and rows that are no design give none."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from results_folders import row, write_clips, write_plan, write_run

from analysis import load
from analysis.effects import designs, effects_schema, effects_table
from analysis.intervals import PRIMARY, task_intervals
from omnimer_ray.corpora.clips import SENTIMENTS
from omnimer_ray.records import write_json

NAMES = ("text", "video", "audio")
VIDEOS = 12
CLIPS = {f"c{video:02d}_{place}": (f"v{video:02d}", SENTIMENTS[place]) for video in range(VIDEOS) for place in range(3)}
SUBSETS = [subset for size in range(4) for subset in combinations(NAMES, size)]


def folder_of(tmp_path: Path, wrong: Mapping[tuple[str, ...], int], seeds: tuple[int, ...] = (0, 1), **changed: Any) -> Path:
    """Rows named by numbers, one for each subset; `wrong` is how many videos a row answers wrongly throughout."""
    write_clips(
        tmp_path, [{"clip": clip, "split": "validation", "source_video": video, "sentiment": gold} for clip, (video, gold) in CLIPS.items()]
    )
    variants = {subset: f"row {number}" for number, subset in enumerate(wrong)}
    rows = [row(variant, "sentiment", seed) for variant in variants.values() for seed in seeds]
    write_plan(tmp_path, variants.values(), ["sentiment"], rows)
    for planned in rows:
        subset = next(found for found, variant in variants.items() if variant == planned["variant"])
        answers = {}
        for clip, (video, gold) in CLIPS.items():
            fails = int(video[1:]) < wrong[subset]
            answers[clip] = (gold, SENTIMENTS[(SENTIMENTS.index(gold) + 1) % 3] if fails else gold)
        run = write_run(tmp_path, planned, answers)
        schedule = "hybrid" if subset else None
        config = {
            "auxiliaries": list(subset),
            "schedule": schedule,
            "seed": planned["seed"],
            "lora": {"rank": 8},
            "supervision": {"retries": len(subset) > 0},
        }
        write_json(run / "config.json", {**config, **changed.get(variants[subset].replace(" ", "_"), {})})
    return tmp_path


def test_planted_effects_come_back_with_sign_and_size(tmp_path: Path) -> None:
    """Each auxiliary mends videos: text 2, video 1, and text with audio 2 more; one video is a twelfth of the score."""
    wrong = {subset: 8 - 2 * ("text" in subset) - ("video" in subset) - 2 * ({"text", "audio"} <= set(subset)) for subset in SUBSETS}
    table = effects_table(load(folder_of(tmp_path, wrong)), "sentiment")
    assert dict(table.schema) == effects_schema()
    found = {line["effect"]: line[PRIMARY] for line in table.iter_rows(named=True)}
    expected = {"text": 3, "video": 1, "audio": 1, "text × video": 0, "text × audio": 1, "video × audio": 0, "text × video × audio": 0}
    assert found == pytest.approx({name: videos / VIDEOS for name, videos in expected.items()})
    assert set(table["design"]) == {"schedule hybrid"}
    text = table.filter(table["effect"] == "text").row(0, named=True)
    assert text["models_low"] < 3 / VIDEOS < text["models_high"]
    assert text["recipe_low"] is not None


def test_an_incomplete_design_has_no_effects(tmp_path: Path) -> None:
    results = load(folder_of(tmp_path, dict.fromkeys(SUBSETS[:-1], 3)))
    assert list(designs(results, "sentiment", task_intervals(results, "sentiment").shared)) == []
    assert effects_table(results, "sentiment").is_empty()


def test_rows_of_other_settings_are_no_part_of_a_design(tmp_path: Path) -> None:
    results = load(folder_of(tmp_path, dict.fromkeys(SUBSETS, 3), row_7={"lora": {"rank": 16}}))
    assert effects_table(results, "sentiment").is_empty()


def test_two_auxiliaries_are_a_design_too(tmp_path: Path) -> None:
    wrong = {subset: 6 - 2 * len(subset) for subset in SUBSETS if "audio" not in subset}
    found = effects_table(load(folder_of(tmp_path, wrong)), "sentiment")
    assert found.select("effect", PRIMARY).rows() == [
        ("text", pytest.approx(1 / 6)),
        ("video", pytest.approx(1 / 6)),
        ("text × video", pytest.approx(0)),
    ]
