"""Emotion answers scored as sentiment: exact text, and runs that state no polarity."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from results_folders import BASE, GOLD, TEXT, row, write_clips, write_plan, write_run

from analysis import load
from analysis.emotion_as_sentiment import polarity_schema, polarity_table
from analysis.grids import POLARITY_NOTE
from analysis.sweep_tables import tables
from omnimer_ray.markdown import escaped

EMOTION = {"v0": "sadness", "v1": "fear", "v2": "neutral", "v3": "neutral", "v4": "neutral", "v5": "happiness"}
ANSWERS = {"v0": "sadness", "v1": "fear", "v2": "neutral", "v3": "neutral", "v4": "happiness", "v5": None}
STATED = {
    "v0": "negative",
    "v1": "neutral",
    "v2": "neutral",
    "v3": "neutral",
    "v4": "positive",
    "v5": None,
}  # as BASE; v1 does not fit fear


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Base states polarities, "Without hierarchy" states none and has no sentiment run, "Not run" has no result."""
    clips = [
        {"clip": clip, "split": "validation", "source_video": f"video{int(clip[1]) // 2}", "sentiment": gold, "emotion": EMOTION[clip]}
        for clip, gold in GOLD.items()
    ]
    write_clips(tmp_path, clips)
    variants = ["Base", "Without hierarchy", "Not run"]
    rows = [row("Base", "sentiment"), *(row(variant, "emotion") for variant in variants)]
    write_plan(tmp_path, variants, ["sentiment", "emotion"], rows)
    write_run(tmp_path, rows[0], {clip: (GOLD[clip], TEXT[clip]) for clip in GOLD})
    emotions: dict[str, Any] = {clip: (EMOTION[clip], ANSWERS[clip]) for clip in GOLD}
    write_run(tmp_path, rows[1], emotions, polarities=STATED)
    write_run(tmp_path, rows[2], emotions)
    return tmp_path


def test_the_table_as_text(folder: Path) -> None:
    """The stated polarities are the answers of Base in the tests of the score table, and so are its scores."""
    assert STATED == BASE
    text = tables(load(folder))["emotion_as_sentiment.md"]
    assert text.startswith("""# Emotion answers scored as sentiment

|  | macro F1 (supported) | 95 % models | accuracy | 95 % models | consistent | direct macro F1 (supported) | direct accuracy | n |
| :-- | --: | --: | --: | --: | --: | --: | --: | --: |
| Base | – | – | .500 | [.000, 1.000] | .800 | – | .833 | 1 |
| Without hierarchy | – | – | – | – | – | – | – | 1 |
| Not run | – | – | – | – | – | – | – | 0/1 |
""")
    assert f"- {escaped(POLARITY_NOTE)}\n- Signatures: Base: {row('Base', 'emotion')['signature']}; " in text


def test_the_table_as_csv(folder: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(tables(load(folder))["emotion_as_sentiment.csv"])))
    assert list(lines[0])[: len(polarity_schema())] == list(polarity_schema())
    base, without, missing = lines
    assert (base["accuracy"], base["consistent"], base["direct_accuracy"]) == ("0.500000", "0.800000", "0.833333")
    assert (without["n"], without["accuracy"], without["consistent"], without["direct_accuracy"]) == ("1", "", "", "")
    assert (missing["n"], missing["planned"], missing["accuracy"]) == ("0", "1", "")


def test_clips_without_a_gold_sentiment_are_not_scored_but_may_be_consistent(folder: Path) -> None:
    clips = [
        {"clip": clip, "split": "validation", "source_video": clip, "emotion": EMOTION[clip], "sentiment": gold if clip > "v1" else None}
        for clip, gold in GOLD.items()
    ]
    write_clips(folder, clips)
    write_plan(folder, ["Base"], ["emotion"], [row("Base", "emotion")])
    base = polarity_table(load(folder)).row(0, named=True)
    assert (base["accuracy"], base["consistent"], base["direct_accuracy"]) == (pytest.approx(2 / 4), pytest.approx(4 / 5), None)


def test_without_any_gold_sentiment_nothing_is_scored(folder: Path) -> None:
    clips = [{"clip": clip, "split": "validation", "source_video": clip, "emotion": EMOTION[clip]} for clip in GOLD]
    write_clips(folder, clips)
    write_plan(folder, ["Base"], ["emotion"], [row("Base", "emotion")])
    base = polarity_table(load(folder)).row(0, named=True)
    assert (base["n"], base["accuracy"], base["consistent"]) == (1, None, None)


def test_seeds_are_averaged(folder: Path) -> None:
    rows = [row("Base", "emotion", seed) for seed in (0, 1)]
    write_plan(folder, ["Base"], ["emotion"], rows)
    right: dict[str, Any] = {clip: (EMOTION[clip], EMOTION[clip]) for clip in GOLD}
    write_run(folder, rows[1], right, polarities=dict(GOLD))
    base = polarity_table(load(folder)).row(0, named=True)
    assert (base["n"], base["accuracy"], base["consistent"]) == (2, pytest.approx(0.75), pytest.approx(0.9))
    assert base["accuracy_std"] == pytest.approx(0.5 / 2**0.5)
