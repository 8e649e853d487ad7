"""What runs cost and with what settings they ran, from their files."""

from pathlib import Path

import polars as pl
import pytest
from results_folders import row, write_clips, write_plan, write_run

from analysis import load
from analysis.costs import costs_schema, costs_table
from analysis.figures import figures
from analysis.grids import costs_grid
from analysis.notes import notes
from analysis.run_plots import curves, importances, rank_cells, scored_trials
from analysis.search_table import TrialRow
from analysis.settings import settings_grid, settings_line, settings_table
from omnimer_ray.config import BaseConfig, CorpusConfig, flat
from omnimer_ray.corpora.clips import SENTIMENTS
from omnimer_ray.recipes import GIVEN, omnimer_qwen7b
from omnimer_ray.records import read_json, write_json, write_record

TIMES = {"startup_sec": 6.0, "training_sec": 0.0, "evaluation_sec": 12.0, "sec": 18.0, "workers": 2, "attempts": [{"why": "killed"}]}


def with_stage(folder: Path) -> Path:
    """Both finished runs need one stage; each file says what it took."""
    stage = folder / "stages" / "s0"
    stage.mkdir(parents=True)
    write_record(stage, {"outcome": "done", "device": "x86_64", "peak_host_memory_gib": 2.5})
    write_json(stage / "cost.json", {**TIMES, "training_sec": 60.0, "sec": 78.0, "attempts": []})
    (stage / "history.jsonl").write_text('{"loss": 2.0}\n{"loss": 1.0}\n{"lo')
    for variant in ("Base", "Base + Text Aux"):
        write_json(folder / "runs" / row(variant, "sentiment")["signature"] / "cost.json", TIMES)
    return folder


def test_a_stage_counts_in_every_row_and_once_in_the_sum(small: Path) -> None:
    table = costs_table(load(with_stage(small)))
    assert dict(table.schema) == costs_schema()
    by_row = {line["variant"]: line for line in table.iter_rows(named=True)}
    assert (by_row["Base"]["sec"], by_row["Base"]["training_sec"]) == (2 * (18 + 78), 120)
    assert (by_row["Base"]["failed_attempts"], by_row["Base"]["host_gib"], by_row["Base"]["devices"]) == (1, 2.5, "x86_64")
    assert by_row["All Aux (Hybrid)"]["sec"] is None
    whole = by_row["all, each stage once"]
    assert (whole["runs"], whole["stages"], whole["sec"]) == (2, 1, 2 * (18 + 18 + 78))
    assert costs_grid(table).rows[0][:7] == ("Base", "1", "1", "2.0", "0.8", "0.4", "3.2")


def test_losses_are_read_up_to_a_line_that_was_cut_off(small: Path) -> None:
    assert curves(load(small), "sentiment") == {}
    assert curves(load(with_stage(small)), "sentiment") == {"Base": [[2.0, 1.0]], "Base + Text Aux": [[2.0, 1.0]]}


def configure(folder: Path, **of_text: object) -> Path:
    recipe = omnimer_qwen7b(CorpusConfig(name="mini", fingerprint="c"), BaseConfig(name="tiny", revision="r")).model_dump(mode="json")
    write_json(folder / "runs" / row("Base", "sentiment")["signature"] / "config.json", recipe)
    write_json(
        folder / "runs" / row("Base + Text Aux", "sentiment")["signature"] / "config.json", {**recipe, "auxiliaries": ["text"], **of_text}
    )
    return folder


def test_settings_say_where_they_come_from(small: Path) -> None:
    assert settings_grid(load(small)) is None, "the runs have no settings"
    rows = {(line[0], line[1]): line[2:] for line in settings_table(load(configure(small, global_batch=16))).rows()}
    assert rows["epochs", "5"] == ("all rows", "paper")
    assert rows["global_batch", "128"] == ("Base", "paper")
    assert rows["global_batch", "16"] == ("Base + Text Aux", "paper: 128")
    assert rows["auxiliaries", "none"] == ("Base", "varied")
    assert rows["lora.alpha", "16"] == ("all rows", "assumed")
    assert not [name for name, _ in rows if name in ("seed", "task") or name.startswith(("corpus.", "base."))]


def test_the_note_names_the_papers_settings_and_counts_the_assumed_ones(small: Path) -> None:
    assert settings_line(load(small)) == ""
    line = settings_line(load(configure(small)))
    assert line.startswith("Settings that the paper names: epochs 5 (paper), global_batch 128 (paper), lora.rank 8 (paper); ")
    assert line in notes(load(small), "sentiment")
    assert any(line.startswith("Seeds: 0. Answers: greedy, free text.") for line in notes(load(small), "sentiment"))


def test_the_papers_values_are_the_defaults_of_the_7b() -> None:
    recipe = flat(omnimer_qwen7b(CorpusConfig(name="mini", fingerprint="c"), BaseConfig(name="tiny", revision="r")).model_dump())
    assert {name: recipe[name] for name in GIVEN} == GIVEN


def test_ranks_are_a_map_only_if_ranks_and_auxiliaries_differ(small: Path) -> None:
    assert rank_cells(load(configure(small)), "sentiment") == {}


def test_ranks_and_auxiliaries_are_drawn_as_a_map(tmp_path: Path) -> None:
    """Two subsets at two ranks; the map has the score of each."""
    clips = {f"c{video:02d}_{place}": (f"v{video:02d}", label) for video in range(10) for place, label in enumerate(SENTIMENTS)}
    write_clips(
        tmp_path, [{"clip": clip, "split": "validation", "source_video": video, "sentiment": gold} for clip, (video, gold) in clips.items()]
    )
    cells = {("none", 4): 2, ("none", 8): 4, ("text, hybrid", 4): 6, ("text, hybrid", 8): 8}
    rows = {cell: row(f"row {number}", "sentiment") for number, cell in enumerate(cells)}
    write_plan(tmp_path, [planned["variant"] for planned in rows.values()], ["sentiment"], list(rows.values()))
    for (name, rank), planned in rows.items():
        wrong = {
            clip: gold if int(video[1:]) < cells[name, rank] else SENTIMENTS[SENTIMENTS.index(gold) - 1]
            for clip, (video, gold) in clips.items()
        }
        run = write_run(tmp_path, planned, {clip: (gold, wrong[clip]) for clip, (_, gold) in clips.items()})
        write_json(run / "config.json", {"auxiliaries": ["text"] * (name != "none"), "schedule": "hybrid", "lora": {"rank": rank}})
    assert rank_cells(load(tmp_path), "sentiment") == pytest.approx({cell: right / 10 for cell, right in cells.items()})
    assert "sentiment_ranks.svg" in figures(load(tmp_path))


def test_importances_need_enough_trials_and_find_what_matters(small: Path) -> None:
    def trial(number: int) -> TrialRow:
        params = {"auxiliaries": "text", "rank": 4 + 4 * (number % 2), "alpha": 16, "learning_rate": 0.001 * (1 + number % 3)}
        return TrialRow(number=number, params=params, development_f1=0.3 + 0.2 * (number % 2), num_steps=1)

    assert importances([trial(number) for number in range(4)]) == {}
    found = importances([trial(number) for number in range(24)])
    assert next(iter(found)) == "rank"
    assert found["rank"] > 0.9
    assert sum(found.values()) == pytest.approx(1)
    assert scored_trials(load(small)) == []


def test_runs_of_older_records_have_no_looks(small: Path) -> None:
    assert load(small).runs["validation_opened"].is_null().all()
    path = small / "runs" / row("Base", "sentiment")["signature"]
    write_record(path, {**read_json(path / "record.json"), "validation_opened": "once, to report"})
    assert load(small).runs.filter(pl.col("validation_opened").is_not_null()).height == 1
    assert any("Each run opened the validation part once, to report." in line for line in notes(load(small), "sentiment"))
