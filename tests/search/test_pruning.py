"""A trial in its worker, without Ray: judging changes nothing of its training, a pruned one says so, and validation is never there."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from omnimer_ray.config import ThinkerConfig, changed
from omnimer_ray.corpora.clips import LABELS, Corpus
from omnimer_ray.corpora.select import development_splits
from omnimer_ray.execution.handout import Job, write_manifest
from omnimer_ray.execution.worker import ThinkerWorker
from omnimer_ray.machine.profile import MachineProfile
from omnimer_ray.metrics import scores
from omnimer_ray.model.bases import locate
from omnimer_ray.outputs.analysis_inputs import run_scores
from omnimer_ray.planning.pruning import Pruning, judge, verdicts
from omnimer_ray.planning.search_space import Search, trial_run, units_of
from omnimer_ray.planning.units import Run, recorded_outcome
from omnimer_ray.records import read_record
from omnimer_ray.training.loop import init_single_process_group

RUNGS = (0.25, 0.5)
Start = Callable[..., tuple[dict[str, Any], Job]]


@pytest.fixture
def trial(recipe: ThinkerConfig) -> Run:
    """Four steps on half of train, without auxiliaries."""
    search = Search(changed(recipe, {"epochs": 4.0, "global_batch": 8}), task="sentiment", development=2)
    return trial_run(search, {"auxiliaries": "none", "rank": 4, "alpha": 16, "learning_rate": 5e-3})


@pytest.fixture
def start(trial: Run, corpus: Corpus, shared_cache: Path) -> Start:
    """One attempt at the trial's only unit."""

    def run(folder: Path, pruning: Pruning | None) -> tuple[dict[str, Any], Job]:
        init_single_process_group()
        profile = MachineProfile(docs="a test", micro_batch=8, evaluation_batch=8, checkpoint_every=2)
        job = Job(folder, folder / "ledgers", shared_cache, locate("tiny"), profile, "1", pruning)
        write_manifest(job.work / "manifest.json", corpus.split("train"))
        (unit,) = units_of("trial 0", trial)
        return ThinkerWorker(job, unit, 0, 1, (), time.time(), (folder / "beat").touch).execute(), job

    return run


def adapter(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("stages/*/adapter_model.safetensors")
    return load_file(path)


def test_judging_a_trial_does_not_change_its_training(start: Start, trial: Run, tmp_path: Path) -> None:
    ended, _ = start(tmp_path / "judged", Pruning(RUNGS, 9))
    assert ended == start(tmp_path / "left alone", None)[0] == {"outcome": "done"}
    judged, alone = adapter(tmp_path / "judged"), adapter(tmp_path / "left alone")
    assert judged.keys() == alone.keys()
    assert all(value.equal(alone[name]) for name, value in judged.items()), "to the bit"
    assert [verdict.rung for verdict in verdicts(tmp_path / "judged", trial.config, trial.signature, RUNGS)] == list(RUNGS)
    assert not (tmp_path / "left alone" / "rungs").exists()
    assert (tmp_path / "left alone" / "beat").exists(), "the watchdog's heartbeat"


def test_a_trial_is_scored_on_development_and_never_on_validation(start: Start, trial: Run, corpus: Corpus, tmp_path: Path) -> None:
    _, job = start(tmp_path, None)
    development = [clip for clip in development_splits(corpus.clips, 2) if clip.split == "development"]
    rows = pl.read_parquet(tmp_path / "runs" / trial.signature / "predictions.parquet")
    assert rows["clip"].to_list() == [clip.id for clip in development]
    manifest = (job.work / "manifest.json").read_text()
    assert not [clip.id for clip in corpus.split("validation") if f'"{clip.id}"' in manifest]
    record = read_record(tmp_path / "runs" / trial.signature)
    assert record is not None
    assert (record["validation_opened"], record["num_steps"]) == ("none", 4)
    assert record["peak_host_memory_gib"] > 0.2, "torch and the tiny base"
    assert (record["peak_device_memory_gib"] is None) == (not torch.cuda.is_available())
    by_hand = scores(gold=rows["gold"].to_list(), predicted=rows["prediction"].to_list(), labels=LABELS["sentiment"]).macro_f1
    found = run_scores(tmp_path, trial)
    assert found is not None
    assert found.macro_f1 == by_hand


def test_a_trial_that_is_not_among_the_best_is_pruned_with_a_reason(start: Start, trial: Run, tmp_path: Path) -> None:
    for name in ("better", "best"):
        judge(tmp_path, trial.config, name, 0.5, 1.5, 3)  # nobody reaches that
    ended, _ = start(tmp_path, Pruning(RUNGS, 3))
    record = read_record(tmp_path / "runs" / trial.signature)
    assert record is not None
    assert ended == {"outcome": "pruned", "reason": record["reason"]}
    assert record["reason"].startswith("macro F1 0.")
    assert record["reason"].endswith(" at 50% of the stage, not among the best 1 of 3")
    assert (record["outcome"], record["num_steps"], record["validation_opened"]) == ("pruned", 2, "none")
    assert not list(tmp_path.glob("runs/*/predictions.parquet"))
    assert not list(tmp_path.glob("stages/*/checkpoints"))
    assert recorded_outcome(units_of("", trial)[0], tmp_path) == "pruned"


def test_a_kill_between_verdict_and_record_changes_nothing(start: Start, trial: Run, tmp_path: Path) -> None:
    for name in ("better", "best"):
        judge(tmp_path, trial.config, name, 0.5, 1.5, 3)
    ended, _ = start(tmp_path, Pruning(RUNGS, 3))
    (tmp_path / "runs" / trial.signature / "record.json").unlink()
    history = (next((tmp_path / "stages").iterdir()) / "history.jsonl").read_text()
    assert start(tmp_path, Pruning(RUNGS, 3))[0] == ended
    assert (next((tmp_path / "stages").iterdir()) / "history.jsonl").read_text() == history, "not trained again"
