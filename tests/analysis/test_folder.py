"""`load` reads a results folder and raises an error that names each inconsistency."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from results_folders import BASE, GOLD, row, write_clips, write_plan, write_run

from analysis import load
from analysis.folder import runs_schema
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import clips_schema, ledger_schema, predictions_schema, write_record, write_table


def edit_plan(folder: Path, **changes: Any) -> None:
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps({**plan, **changes}))


def rewrite_base(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Replace the Base run by a run with changed predictions, and record it again."""
    run = write_run(folder, row("Base", "sentiment"), {clip: (GOLD[clip], BASE[clip]) for clip in GOLD})
    changed = change(pl.read_parquet(run / "predictions.parquet"))
    shutil.rmtree(run)
    write_run(folder, row("Base", "sentiment"), {}, outcome="prepared")
    write_table(run / "predictions.parquet", changed)
    write_record(run, {"outcome": "done"})


def test_frames_have_their_declared_columns(small: Path) -> None:
    results = load(str(small))
    assert dict(results.runs.schema) == runs_schema()
    assert dict(results.clips.schema) == clips_schema()
    assert dict(results.ledger.schema) == ledger_schema()
    assert dict(results.predictions.schema) == {"signature": pl.String, **predictions_schema(), "source_video": pl.String}
    assert results.runs.select("variant", "outcome", "num_steps").rows() == [
        ("Base", "done", 12),
        ("Base + Text Aux", "done", 12),
        ("All Aux (Hybrid)", "missing", None),
    ]
    assert results.predictions.height == 2 * 6
    assert results.clips.height == 9


def test_folder_without_runs_loads(small: Path) -> None:
    shutil.rmtree(small / "runs")
    results = load(small)
    assert results.predictions.is_empty()
    assert set(results.runs["outcome"]) == {"missing"}


def test_only_done_runs_have_predictions(small: Path) -> None:
    write_run(small, row("All Aux (Hybrid)", "sentiment"), {}, outcome="diverged", reason="loss is nan at step 7")
    results = load(small)
    assert results.runs.row(2, named=True) | {"outcome": "diverged", "reason": "loss is nan at step 7"} == results.runs.row(2, named=True)
    assert results.predictions["signature"].n_unique() == 2


def test_runs_outside_the_plan_are_listed_and_not_read(small: Path) -> None:
    write_run(small, {**row("Old", "sentiment"), "signature": "0ld"}, {"nonsense": ("x", "y")})
    results = load(small)
    assert results.unplanned == ("0ld",)
    assert results.predictions["signature"].n_unique() == 2


def test_predictions_on_another_corpus_or_instruction_are_ignored(small: Path) -> None:
    def with_other_predictions(frame: pl.DataFrame) -> pl.DataFrame:
        elsewhere = frame.with_columns(pl.lit("ch_sims").alias("evaluation_corpus"))
        auxiliary = frame.with_columns(pl.lit("prosody").alias("instruction"))
        return pl.concat([frame, elsewhere, auxiliary])

    rewrite_base(small, with_other_predictions)
    assert load(small).predictions.height == 2 * 6


def test_stand_ins_of_corpus_base_and_records_are_listed_once_each(small: Path) -> None:
    edit_plan(small, base={"name": "tiny", "revision": "beef", "stand_in": "a tiny base"})
    write_run(small, row("All Aux (Hybrid)", "sentiment"), {clip: (GOLD[clip], BASE[clip]) for clip in GOLD}, stand_in="drawn faces")
    write_run(small, row("Base", "sentiment"), {clip: (GOLD[clip], BASE[clip]) for clip in GOLD}, stand_in="drawn faces")
    assert load(small).stand_ins == ("a tiny base", "drawn faces")


PLANS = {
    r"plan\.json: rows name 'Base', which is none of its variants": {"variants": ["Base + Text Aux", "All Aux (Hybrid)"]},
    r"'Base', sentiment, seed 0 has rows for folds \[None, None\], not one for each of \[None\]": {"rows": [row("Base", "sentiment")] * 2},
    r"'Base', sentiment, seed 0 has rows for folds \[None\], not one for each of \[0, 1\]": {
        "rows": [row("Base", "sentiment")],
        "corpus": {"name": "mini", "fingerprint": "c0ffee", "folds": 2},
    },
    r"plan\.json: rows\.0\.signature: String should match pattern": {
        "rows": [{**row("Base", "sentiment"), "signature": "../../elsewhere"}]
    },
    r"plan\.json: question: Input should be a valid string; tasks\.0: Input should be 'sentiment' or 'emotion'": {
        "question": 1,
        "tasks": ["mood"],
    },
}


@pytest.mark.parametrize("message", PLANS)
def test_inconsistent_plan_raises_an_error(small: Path, message: str) -> None:
    edit_plan(small, **PLANS[message])
    with pytest.raises(ResultsError, match=message):
        load(small)


PREDICTIONS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    r"lacks 2 of 6 scored clips, as 'v4'; remove .*, and the same command makes it again": lambda frame: frame.head(4),
    r"answers clip 'v5' more than once": lambda frame: pl.concat([frame, frame.tail(1)]),
    r"answers clip 't0', which clips\.parquet does not offer": lambda frame: pl.concat(
        [frame, frame.tail(1).with_columns(pl.lit("t0").alias("clip"))]
    ),
    r"clip 'v0' has gold 'positive', but 'negative' in clips\.parquet; the corpus changed": lambda frame: frame.with_columns(
        pl.lit("positive").alias("gold")
    ),
    r"prediction 'happiness' is no sentiment label; known: negative, neutral, positive": lambda frame: frame.with_columns(
        pl.lit("happiness").alias("prediction")
    ),
    r"predicted_sentiment 'fear' is no sentiment label; known: negative, neutral, positive": lambda frame: frame.with_columns(
        pl.lit("fear").alias("predicted_sentiment")
    ),
    r"lacks 6 of 6 scored clips": lambda frame: frame.with_columns(pl.lit("indomer").alias("evaluation_corpus")),
    r"has no column 'gold'": lambda frame: frame.drop("gold"),
    r"column 'prediction' is Int32, not String": lambda frame: frame.with_columns(pl.lit(1).alias("prediction")),
}


@pytest.mark.parametrize("message", PREDICTIONS)
def test_predictions_inconsistent_with_the_clips_raise_an_error(small: Path, message: str) -> None:
    rewrite_base(small, PREDICTIONS[message])
    with pytest.raises(ResultsError, match=message):
        load(small)


def test_changed_or_unrecorded_predictions_raise_an_error(small: Path) -> None:
    run = small / "runs" / row("Base", "sentiment")["signature"]
    write_table(run / "predictions.parquet", pl.read_parquet(run / "predictions.parquet").reverse())
    with pytest.raises(ResultsError, match=r"is not the file that was recorded \(hash \w+, recorded \w+\); remove"):
        load(small)
    shutil.rmtree(run)
    write_run(small, row("Base", "sentiment"), {}, outcome="prepared")
    (run / "record.json").write_text('{"outcome": "done", "files": {}}')
    with pytest.raises(ResultsError, match=r"has outcome done but records no predictions\.parquet"):
        load(small)


def test_missing_and_corrupt_files_raise_an_error(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"plan\.json is not there; give a results folder, as results/<space>/<corpus>-<base>"):
        load(tmp_path)
    (small / "clips.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(ResultsError, match=r"clips\.parquet cannot be read as Parquet .*; remove it, and the same command makes it again"):
        load(small)
    (small / "clips.parquet").unlink()
    with pytest.raises(ResultsError, match=r"clips\.parquet is not there; is .* a results folder\?"):
        load(small)


def test_duplicate_clip_raises_an_error(small: Path) -> None:
    write_clips(small, [{"clip": "v0", "split": "validation", "source_video": "a", "sentiment": "neutral"}] * 2)
    with pytest.raises(ResultsError, match=r"clips\.parquet holds clip 'v0' more than once"):
        load(small)


def write_folds(folder: Path, held_out: dict[tuple[str, int], list[str]]) -> Path:
    """Write results of four clips, two folds and the variants Base and Text; `held_out` gives the clips that each run predicts."""
    write_clips(folder, [{"clip": f"c{i}", "split": "train", "source_video": f"video{i // 2}", "sentiment": "neutral"} for i in range(4)])
    rows = [row(variant, "sentiment", 0, fold) for variant in ("Base", "Text") for fold in (0, 1)]
    write_plan(folder, ["Base", "Text"], ["sentiment"], rows, folds=2)
    for planned in rows:
        write_run(folder, planned, dict.fromkeys(held_out[planned["variant"], planned["fold"]], ("neutral", "neutral")))
    return folder


def test_folds_that_changed_during_the_sweep_raise_an_error(tmp_path: Path) -> None:
    good = {("Base", 0): ["c0", "c1"], ("Base", 1): ["c2", "c3"], ("Text", 0): ["c0", "c1"], ("Text", 1): ["c2", "c3"]}
    assert load(write_folds(tmp_path / "good", good)).predictions.height == 8
    with pytest.raises(ResultsError, match=r"fold 1 holds other clips than in another run; the folds changed under the sweep"):
        load(write_folds(tmp_path / "other", {**good, ("Text", 1): ["c3"]}))
    with pytest.raises(ResultsError, match=r"clip 'c0' is in folds 0 and 1; the folds changed under the sweep"):
        load(write_folds(tmp_path / "twice", {**good, ("Base", 1): ["c0", "c2"], ("Text", 1): ["c0", "c2"]}))


def test_fold_without_answers_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"holds no answers to 'sentiment' on corpus 'mini'"):
        load(write_folds(tmp_path, {("Base", 0): [], ("Base", 1): [], ("Text", 0): [], ("Text", 1): []}))


def test_all_runs_with_faults_are_named_together(small: Path) -> None:
    runs = [small / "runs" / row(variant, "sentiment")["signature"] for variant in ("Base", "Base + Text Aux")]
    (runs[0] / "record.json").write_text("{")
    (runs[1] / "predictions.parquet").write_bytes(b"nothing")
    with pytest.raises(ResultsError, match=r"^2 faults: ") as error:
        load(small)
    assert all(str(run) in str(error.value) for run in runs)
