"""Scores of models that are shown a part of each clip: grouped by adapter, means over draws and seeds."""

from pathlib import Path
from typing import Any

import pytest
from results_folders import BASE, GOLD, TEXT, row, write_clips, write_plan, write_run

from analysis import load, write_all
from analysis.folder import Results
from analysis.missing import missing_schema, missing_table

WHOLE = {"modalities": ["audio", "text", "video"], "missing_rate": 0.0, "draw": 0}
EVALUATIONS: dict[str, tuple[dict[str, Any], dict[str, str | None], str]] = {  # variant -> observed, answers, adapter
    "Base, only T": ({**WHOLE, "modalities": ["text"]}, BASE, "a"),
    "Base": (WHOLE, TEXT, "a"),
    "Base, 50 % missing, draw 0": ({**WHOLE, "missing_rate": 0.5}, TEXT, "a"),
    "Base, 50 % missing, draw 1": ({**WHOLE, "missing_rate": 0.5, "draw": 1}, BASE, "a"),
    "Hybrid": (WHOLE, dict(GOLD), "b"),
    "Alone, only T": ({**WHOLE, "modalities": ["text"]}, BASE, "c"),  # its adapter has no run that sees everything
}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    folder = tmp_path / "missing" / "mini-tiny"
    clips = [{"clip": clip, "split": "validation", "source_video": f"video{clip}", "sentiment": gold} for clip, gold in GOLD.items()]
    write_clips(folder, [*clips, {"clip": "t", "split": "train", "source_video": "train", "sentiment": "neutral"}])
    rows = [row(variant, "sentiment") for variant in EVALUATIONS]
    write_plan(folder, list(EVALUATIONS), ["sentiment"], rows)
    for planned, (observed, answers, adapter) in zip(rows, EVALUATIONS.values(), strict=True):
        write_run(folder, planned, {clip: (GOLD[clip], answers[clip]) for clip in GOLD}, stages=[adapter], observed=observed)
    return load(folder)


def test_evaluations_of_one_adapter_are_named_after_its_whole_run(results: Results) -> None:
    table = missing_table(results, "sentiment")
    assert dict(table.schema) == missing_schema()
    assert table.select("variant", "shown", "missing_rate", "n").rows() == [
        ("Base", "everything", 0.0, 1),
        ("Base", "everything", 0.5, 2),
        ("Base", "text", 0.0, 1),
        ("Hybrid", "everything", 0.0, 1),
    ]
    whole, half, text, _ = table["accuracy"]
    assert (whole, text) == (5 / 6, 3 / 6)
    assert half == pytest.approx((whole + text) / 2)


def test_tables_and_figure_are_written(results: Results) -> None:
    files = {path.name: path for path in write_all(results.folder)}
    text = files["sentiment_missing.md"].read_text()
    assert "| Base | everything | 50% |" in text
    assert "a clip keeps at least one" in text
    assert files["sentiment_missing.png"].read_bytes().startswith(b"\x89PNG")
    assert "modalities missing at evaluation" in files["report.html"].read_text()


def test_without_hidden_modalities_there_is_no_table(small: Path) -> None:
    assert missing_table(load(small), "sentiment").is_empty()
    assert not any("missing" in path.name for path in write_all(small))
