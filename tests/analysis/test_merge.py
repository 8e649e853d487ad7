"""Results folders put together: halves give the whole one's tables, and what does not fit is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from results_folders import row, write_run

from analysis import load
from analysis.__main__ import main
from analysis.merge import merge
from analysis.sweep_tables import tables
from omnimer_ray.errors import ResultsError
from omnimer_ray.outputs.registration import register
from omnimer_ray.records import read_json, write_json


def halves(whole: Path, tmp_path: Path) -> list[Path]:
    """Two folders with the whole plan, each with every second run."""
    parts = [Path(shutil.copytree(whole, tmp_path / f"half{place}" / "mini-tiny")) for place in (0, 1)]
    for place, part in enumerate(parts):
        for number, run in enumerate(sorted((part / "runs").iterdir())):
            if number % 2 == place:
                shutil.rmtree(run)
    return parts


def test_two_half_folders_give_the_whole_ones_tables(realistic: Callable[..., Path], tmp_path: Path) -> None:
    whole = realistic(seeds=(0, 1))
    found = merge(halves(whole, tmp_path), tmp_path / "both")
    assert found.runs == len(list((whole / "runs").iterdir()))
    assert found.twice == ()
    assert tables(load(found.folder)) == tables(load(whole))


def test_rows_of_two_sweeps_stand_in_one_table(small: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(small, tmp_path / "other"))
    plan = read_json(other / "plan.json")
    added = row("Mine", "sentiment")
    write_json(
        other / "plan.json",
        {**plan, "space": "mine", "variants": ["Base", "Mine"], "rows": [row("Base", "sentiment"), added], "contrasts": [["Mine", "Base"]]},
    )
    write_run(other, added, {clip: (gold, gold) for clip, gold, *_ in load(small).predictions.select("clip", "gold").unique().iter_rows()})
    register(other, {"contrasts": [["Mine", "Base"]], "seeds": [0], "tasks": ["sentiment"]}, [])
    merged = load(merge([small, other], tmp_path / "both").folder)
    assert merged.plan.variants == ("Base", "Base + Text Aux", "All Aux (Hybrid)", "Mine")
    assert (merged.plan.space, merged.plan.reference) == ("ablations + mine", "Base")
    assert merged.runs.filter(pl.col("variant") == "Mine")["outcome"].to_list() == ["done"]
    assert len(merged.registrations) == 1
    assert "| Mine | – | – | **1.000** |" in tables(merged)["sentiment.md"]


def test_a_run_that_two_machines_answered_differently_is_named(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Path(shutil.copytree(small, tmp_path / "other"))
    base = row("Base", "sentiment")
    write_run(other, base, {clip: (gold, gold) for clip, gold in load(small).predictions.select("clip", "gold").unique().iter_rows()})
    with pytest.raises(SystemExit, match="0"):
        main(["merge", str(small), str(other), "--into", str(tmp_path / "both")])
    printed = capsys.readouterr().out
    assert f"run {base['signature']} was finished in several folders with different answers; the first folder's are kept" in printed
    assert f"2 runs in {tmp_path / 'both'}; tables and report:  python -m analysis {tmp_path / 'both'}" in printed
    assert tables(load(tmp_path / "both"))["sentiment.md"] == tables(load(small))["sentiment.md"]


def test_everything_that_does_not_fit_is_named_and_nothing_is_written(small: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(small, tmp_path / "other"))
    plan = read_json(other / "plan.json")
    plan["corpus"]["fingerprint"], plan["base"]["revision"] = "dead", "cafe"
    plan["evaluated_on"] = [{**plan["corpus"], "name": "spoken"}]
    plan["rows"][2]["signature"] = "another"
    write_json(other / "plan.json", plan)
    clips = pl.read_parquet(other / "clips.parquet")
    clips.with_columns(pl.when(pl.col("clip") == "t0").then(pl.lit("positive")).otherwise("sentiment").alias("sentiment")).write_parquet(
        other / "clips.parquet"
    )
    with pytest.raises(ResultsError) as error:
        merge([small, other], tmp_path / "both")
    for part in (
        "5 things do not fit together: ",
        f"corpus fingerprint is c0ffee in {small} and dead in {other}",
        f"the base is tiny (beef) in {small} and tiny (cafe) in {other}",
        f"{small} and {other} are evaluated on different other corpora",
        f"row 'All Aux (Hybrid)', sentiment, seed 0, fold None is run {plan['rows'][2]['signature'] and row('All Aux (Hybrid)', 'sentiment')['signature']} in {small} and another in {other}",
        "1 clips are missing or have other labels in one of the folders: t0",
    ):
        assert part in str(error.value)
    assert not (tmp_path / "both").exists()


def test_a_folder_that_is_in_use_is_not_written_to(small: Path) -> None:
    with pytest.raises(ResultsError, match="is not empty; name a new folder for the merged results"):
        merge([small], small)
