"""The same runs on other corpora: a table for each, one of the transfer, and answers that are not complete."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from results_folders import GOLD, TEXT, row, write_clips, write_plan, write_run

from analysis import load
from analysis.sweep_tables import tables
from analysis.transfer import transfer_schema, transfer_table
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import predictions_schema, read_json, write_json, write_record, write_table

ELSEWHERE = {
    "clip_a": ("negative", "negative"),
    "clip_b": ("positive", "neutral"),
    "v0": ("neutral", "neutral"),
    "clip_d": ("neutral", None),
}
OTHER = {
    "name": "spoken",
    "fingerprint": "beef",
    "reported": "test",
    "stand_in": "generated elsewhere",
    "notes": ["people are on both sides"],
}


def add_elsewhere(run: Path, planned: dict[str, Any], answers: dict[str, tuple[str, str | None]]) -> None:
    main = pl.read_parquet(run / "predictions.parquet")
    rows = [
        {
            **dict.fromkeys(predictions_schema()),
            "evaluation_corpus": "spoken",
            "clip": clip,
            "instruction": "sentiment",
            "gold": gold,
            "prediction": said,
        }
        for clip, (gold, said) in answers.items()
    ]
    write_table(run / "predictions.parquet", pl.concat([main, pl.DataFrame(rows, schema=predictions_schema())]))
    write_record(run, {**planned, "outcome": "done", "stages": ["s0"]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Base answered six clips of its own corpus and four test clips of another, one of which has a name that its own corpus has too."""
    folder = tmp_path / "cross" / "mini-tiny"
    own: list[dict[str, Any]] = [
        {"corpus": "mini", "clip": clip, "split": "validation", "source_video": f"video{clip}", "sentiment": gold}
        for clip, gold in GOLD.items()
    ]
    others = [
        {"corpus": "spoken", "clip": clip, "split": "test", "source_video": f"s{clip}", "sentiment": gold}
        for clip, (gold, _) in ELSEWHERE.items()
    ]
    train = [{"corpus": name, "clip": "t0", "split": "train", "source_video": "t", "sentiment": "neutral"} for name in ("mini", "spoken")]
    write_clips(folder, [*own, *others, *train])
    planned = row("Base", "sentiment")
    write_plan(folder, ["Base"], ["sentiment"], [planned])
    write_json(folder / "plan.json", {**read_json(folder / "plan.json"), "evaluated_on": [OTHER]})
    run = write_run(folder, planned, {clip: (GOLD[clip], TEXT[clip]) for clip in GOLD})
    add_elsewhere(run, planned, ELSEWHERE)
    return folder


def test_scores_on_both_corpora_stand_beside_each_other(folder: Path) -> None:
    table = transfer_table(load(folder), "sentiment")
    assert dict(table.schema) == transfer_schema()
    cells = [
        (line["variant"], line["trained_on"], line["evaluated_on"], round(line["accuracy"], 3)) for line in table.iter_rows(named=True)
    ]
    assert cells == [
        ("majority class", "mini", "mini", 0.5),
        ("majority class", "mini", "spoken", 0.5),
        ("class prior", "mini", "mini", 0.5),
        ("class prior", "mini", "spoken", 0.5),
        ("Base", "mini", "mini", 0.833),
        ("Base", "mini", "spoken", 0.5),
    ]


def test_each_corpus_has_a_table_of_its_own(folder: Path) -> None:
    files = tables(load(folder))
    assert {"sentiment.md", "sentiment_transfer.md", "sentiment_on_spoken.md", "sentiment_on_spoken_per_class.csv"} <= set(files)
    page = files["sentiment_on_spoken.md"]
    assert page.startswith("# Sentiment: scores on spoken, trained on mini (stand-in numbers)\n")
    assert "- Scored on the test split: 4 clips of 4 source videos. Corpus spoken (beef); base tiny" in page
    assert "- People are on both sides." in page
    assert "- STAND-IN: generated elsewhere" in page
    assert "People are on both sides" not in files["sentiment.md"]
    assert "Scored on the validation split: 6 clips" in files["sentiment.md"]


def test_without_another_corpus_there_is_no_such_table(small: Path) -> None:
    results = load(small)
    assert transfer_table(results, "sentiment").is_empty()
    assert not [name for name in tables(results) if "transfer" in name or "_on_" in name]


def test_the_error_names_answers_that_are_not_complete_or_have_other_labels(folder: Path) -> None:
    planned = row("Base", "sentiment")
    run = write_run(folder, planned, {clip: (GOLD[clip], TEXT[clip]) for clip in GOLD})
    add_elsewhere(run, planned, dict(list(ELSEWHERE.items())[:3]))
    with pytest.raises(
        ResultsError, match=r"predictions\.parquet answers 3 of 4 test clips of spoken; remove .*, and the same command makes it"
    ):
        load(folder)
    run = write_run(folder, planned, {clip: (GOLD[clip], TEXT[clip]) for clip in GOLD})
    add_elsewhere(run, planned, {**ELSEWHERE, "clip_a": ("neutral", "neutral")})
    with pytest.raises(ResultsError, match=r"clip 'clip_a' has gold 'neutral', but 'negative' in clips\.parquet"):
        load(folder)
