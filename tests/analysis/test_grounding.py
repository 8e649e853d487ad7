"""Answers to the auxiliary instructions: accuracy of each modality, checked by hand."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from results_folders import GOLD, TEXT, row, write_clips, write_plan, write_run

from analysis import load
from analysis.grounding import grounding_schema, grounding_table
from analysis.sweep_tables import tables
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import predictions_schema, write_record, write_table


def add_answers(run: Path, answers: dict[str, list[tuple[str, str | None]]]) -> None:
    """Append rows of (gold, prediction) of each instruction to a run's predictions, and record the file again."""
    main = pl.read_parquet(run / "predictions.parquet")
    rows = [
        {
            **dict.fromkeys(predictions_schema()),
            "evaluation_corpus": "mini",
            "clip": clip,
            "instruction": kind,
            "gold": gold,
            "prediction": said,
        }
        for kind, pairs in answers.items()
        for clip, (gold, said) in zip(GOLD, pairs, strict=True)
    ]
    write_table(run / "predictions.parquet", pl.concat([main, pl.DataFrame(rows, schema=predictions_schema())]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Base answers both instructions: 4 of 6 right from the text, 3 of 6 from the sound; Hybrid was recorded before they were asked."""
    folder = tmp_path / "ablations" / "mini-tiny"
    labels = {"text_sentiment": "neutral", "audio_sentiment": "positive"}
    clips: list[dict[str, Any]] = [
        {"clip": clip, "split": "validation", "source_video": f"video{clip}", "sentiment": gold, **labels} for clip, gold in GOLD.items()
    ]
    train = {"split": "train", "source_video": "t", "sentiment": "neutral", "text_sentiment": "negative", "audio_sentiment": "positive"}
    write_clips(folder, [*clips, {"clip": "t0", **train}])
    rows = [row("Base", "sentiment"), row("Hybrid", "sentiment")]
    write_plan(folder, ["Base", "Hybrid"], ["sentiment"], rows)
    for planned in rows:
        run = write_run(folder, planned, {clip: (GOLD[clip], TEXT[clip]) for clip in GOLD})
        if planned["variant"] == "Base":
            said = {"text_keywords": ["neutral"] * 4 + ["positive", None], "prosody": ["positive", "negative"] * 3}
            gold = {"text_keywords": "neutral", "prosody": "positive"}
            add_answers(run, {kind: [(gold[kind], label) for label in labels] for kind, labels in said.items()})
            checks = {"adapter": 1.5, "sound": 0.0, "frames": 0.25}
            write_record(run, {**planned, "outcome": "done", "stages": ["s0"], "checks": checks, "same_prompts": True})
    return folder


def test_accuracy_of_each_modality_beside_the_majority(folder: Path) -> None:
    table = grounding_table(load(folder), "sentiment")
    assert dict(table.schema) == grounding_schema()
    majority, base = table.iter_rows(named=True)
    assert (majority["variant"], majority["text"], majority["audio"]) == ("majority class", 0.0, 1.0)
    assert (base["variant"], base["n"], base["text"], base["video"], base["audio"]) == ("Base", 1, 4 / 6, None, 3 / 6)
    assert base["text_low"] < base["text"] < base["text_high"]


def test_the_score_table_does_not_count_them(folder: Path) -> None:
    results = load(folder)
    assert results.predictions.height == 2 * 6
    assert results.auxiliary_answers.height == 2 * 6
    page = tables(results)["sentiment_grounding.md"]
    assert "| Base | .667 | [" in page
    assert "Zero-shot rows are the base before training" in page


def test_the_notes_name_a_run_that_does_not_depend_on_its_sound(folder: Path) -> None:
    page = tables(load(folder))["sentiment.md"]
    assert "Checked on a clip of each of 1 runs: " in page
    assert "prompts are those of the training; but Base does not depend on its sound." in page


def test_without_such_answers_there_is_no_table(small: Path) -> None:
    assert grounding_table(load(small), "sentiment").is_empty()
    assert "Checked on a clip" not in tables(load(small))["sentiment.md"]


@pytest.mark.parametrize(
    ("kind", "gold", "said", "text"),
    [
        ("prosody", "positive", "loud", "prediction 'loud' of an auxiliary answer is no sentiment; known: negative, neutral, positive"),
        ("prosody", "fear", "positive", "gold 'fear' of an auxiliary answer is no sentiment"),
    ],
)
def test_the_error_names_a_label_that_is_none(folder: Path, kind: str, gold: str, said: str, text: str) -> None:
    planned = row("Hybrid", "sentiment")
    run = folder / "runs" / planned["signature"]
    add_answers(run, {kind: [(gold, said)] * 6})
    write_record(run, {**planned, "outcome": "done", "stages": ["s0"]})
    with pytest.raises(ResultsError, match=text):
        load(folder)


def test_the_error_names_a_clip_that_is_not_known(folder: Path) -> None:
    planned = row("Hybrid", "sentiment")
    run = folder / "runs" / planned["signature"]
    main = pl.read_parquet(run / "predictions.parquet")
    stray = main.head(1).with_columns(pl.lit("z9").alias("clip"), pl.lit("prosody").alias("instruction"))
    write_table(run / "predictions.parquet", pl.concat([main, stray]))
    write_record(run, {**planned, "outcome": "done", "stages": ["s0"]})
    with pytest.raises(ResultsError, match=r"answers clip 'z9', which clips.parquet does not hold"):
        load(folder)
