"""The inputs of the analysis are written from the sweep, and again when the corpus changed."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from making import clip, sweep_of

from analysis import load
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.outputs.analysis_inputs import write_clips, write_ledger, write_plan
from omnimer_ray.planning.identity import ledger_key
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.records import clips_schema, ledger_schema, read_json
from omnimer_ray.tasks.supervision import build, missing

CLIPS = (clip("a_1"), clip("a_2"), clip("b_1", split="validation", emotion="fear", sentiment="negative", audio_sentiment=None))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The clips whose thumbnails were drawn."""
    drawn: list[str] = []

    def draw(clip: Clip, *where: object) -> bytes:
        drawn.append(clip.id)
        return clip.id.encode()

    monkeypatch.setattr("omnimer_ray.media.prepare.thumbnails", draw)
    return drawn


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path, CLIPS)


def test_the_analysis_reads_the_written_files(sweep: Sweep, shown: list[str]) -> None:
    write_plan(sweep)
    write_clips(sweep)
    write_ledger(sweep)
    runs = load(sweep.folder).runs
    assert runs["outcome"].unique().to_list() == ["missing"]
    assert [(row["variant"], row["task"]) for row in runs.to_dicts()] == [(row.variant, row.task) for row in sweep.plan.rows]


def test_the_plan_names_rows_corpus_base_and_command(sweep: Sweep) -> None:
    write_plan(sweep)
    plan = read_json(sweep.folder / "plan.json")
    assert plan["rows"] == [row._asdict() for row in sweep.plan.rows]
    assert (plan["space"], plan["variants"], plan["tasks"]) == ("ablations", list(sweep.plan.space.variants), ["sentiment", "emotion"])
    assert plan["corpus"] == {
        "name": "mini",
        "fingerprint": "c0ffee",
        "limit": None,
        "folds": None,
        "stand_in": "generated faces",
        "excluded": [],
        "warnings": [],
        "reported": "validation",
        "notes": [],
    }
    assert plan["command"] == "python -m omnimer_ray.sweep ablations"
    write_plan(
        sweep._replace(request=sweep.request._replace(command="'/my env/bin/python3' -m omnimer_ray.sweep ablations --results 'a b'"))
    )
    assert read_json(sweep.folder / "plan.json")["command"] == "python -m omnimer_ray.sweep ablations --results 'a b'"


def test_clips_have_their_labels_and_the_scored_ones_a_strip(sweep: Sweep, shown: list[str]) -> None:
    write_clips(sweep)
    frame = pl.read_parquet(sweep.folder / "clips.parquet")
    assert dict(frame.schema) == clips_schema()
    assert frame["clip"].to_list() == ["a_1", "a_2", "b_1"]
    assert frame["thumbnails"].to_list() == [None, None, b"b_1"]
    assert frame.row(2, named=True)["emotion"] == "fear"
    assert frame.row(2, named=True)["audio_sentiment"] is None


def test_with_folds_every_clip_is_scored(sweep: Sweep, shown: list[str]) -> None:
    write_clips(sweep._replace(request=sweep.request._replace(folds=2)))
    assert shown == ["a_1", "a_2", "b_1"]


def test_clips_are_drawn_once_and_again_when_the_corpus_changed(sweep: Sweep, shown: list[str]) -> None:
    write_clips(sweep)
    write_clips(sweep)
    assert shown == ["b_1"]
    changed = (*CLIPS[:2], replace(CLIPS[2], emotion="anger"))
    write_clips(sweep._replace(corpus=Corpus("mini", changed, "f00d")))
    assert shown == ["b_1", "b_1"]
    assert pl.read_parquet(sweep.folder / "clips.parquet")["emotion"].to_list() == ["neutral", "neutral", "anger"]


def test_a_damaged_table_is_made_again(sweep: Sweep, shown: list[str]) -> None:
    write_clips(sweep)
    (sweep.folder / "clips.parquet").write_bytes(b"PAR1 half")
    write_clips(sweep)
    assert len(pl.read_parquet(sweep.folder / "clips.parquet")) == 3


def test_a_partial_ledger_is_written(sweep: Sweep) -> None:
    write_ledger(sweep)
    assert pl.read_parquet(sweep.folder / "ledger.parquet").is_empty()
    ledger = sweep.ledgers / ledger_key(sweep.recipe, "prosody")
    todo = missing(ledger, "prosody", CLIPS)
    answer = '{"sentiment": "neutral", "explanation": "flat"}'
    gone = clip("gone_1")  # of an earlier release
    asked = [*todo, gone]
    build(lambda clips, given, attempt: [answer] * len(clips), asked, "prosody", sweep.recipe, 8, ledger / "prosody.0.jsonl", print)
    write_ledger(sweep)
    frame = pl.read_parquet(sweep.folder / "ledger.parquet")
    assert dict(frame.schema) == ledger_schema()
    assert frame["clip"].to_list() == ["a_1", "a_2"]
    assert frame["made"].to_list() == ["agreed", "agreed"]
