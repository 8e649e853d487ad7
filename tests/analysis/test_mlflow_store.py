"""Each finished run is written once to a local MLflow store. Tests that need MLflow are skipped if the extra is not installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from results_folders import write_run

from analysis import load
from analysis.mlflow_store import write_store
from omnimer_ray.errors import MissingExtraError, ResultsError
from omnimer_ray.records import write_json


def test_missing_extra_is_reported_with_the_install_command(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError) as raised:
        write_store(load(small), "sqlite:///never.db")
    assert str(raised.value) == "package 'mlflow' is not installed; it comes with the extra 'mlflow': pip install 'omnimer-ray[mlflow]'"


@pytest.fixture
def store(tmp_path: Path) -> str:
    pytest.importorskip("mlflow")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def trained(small: Path) -> Path:
    """The folder `small` with run settings and with stage histories of two and three steps."""
    for key, num_steps in (("s0", 2), ("s1", 3)):
        steps = [{"step": n + 1, "loss": 1.0 - n / 4, "learning_rate": 0.5, "sec": 2.0} for n in range(num_steps)]
        (small / "stages" / key).mkdir(parents=True)
        (small / "stages" / key / "history.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    for run in (small / "runs").iterdir():
        write_json(run / "config.json", {"seed": 0, "lora": {"rank": 8}, "auxiliaries": ["text"], "mixture": None})
    return small


def runs(store: str) -> dict[str, Any]:
    """Return the runs of the MLflow experiment by name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("ablations / mini-tiny")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_every_finished_run_is_written_once(trained: Path, store: str) -> None:
    assert write_store(load(trained), store) == 2
    assert write_store(load(trained), store) == 0
    plan = json.loads((trained / "plan.json").read_text())
    missing = next(row for row in plan["rows"] if row["variant"] == "All Aux (Hybrid)")
    assert set(runs(store)) == {"Base / sentiment, seed 0", "Base + Text Aux / sentiment, seed 0"}
    gold = {f"v{n}": label for n, label in enumerate(["negative", "negative", "neutral", "neutral", "neutral", "positive"])}
    write_run(trained, missing, {clip: (label, label) for clip, label in gold.items()})
    assert write_store(load(trained), store) == 1
    assert len(runs(store)) == 3


def test_settings_scores_and_tags_are_stored(trained: Path, store: str) -> None:
    plan = json.loads((trained / "plan.json").read_text())
    plan["corpus"]["stand_in"] = "drawn faces"
    write_json(trained / "plan.json", plan)
    write_store(load(trained), store)
    run = runs(store)["Base / sentiment, seed 0"]
    assert run.data.params == {"seed": "0", "lora.rank": "8", "auxiliaries": "['text']", "mixture": "None"}
    assert run.data.metrics["validation/accuracy"] == 0.5
    assert (run.data.metrics["validation/unparsed"], run.data.metrics["validation/num_clips"]) == (1, 6)
    assert run.data.metrics["validation_support/neutral"] == 3
    assert run.data.tags["signature"] == plan["rows"][0]["signature"]
    assert run.data.tags["stand_in"] == "drawn faces"
    assert run.data.tags["mlflow.note.content"].startswith("STAND-IN: drawn faces\n\nWhich auxiliary tasks help?")


def test_steps_of_two_stages_are_numbered_consecutively(trained: Path, store: str) -> None:
    from mlflow import MlflowClient

    plan = json.loads((trained / "plan.json").read_text())
    write_json(trained / "runs" / plan["rows"][0]["signature"] / "record.json", record(trained, plan["rows"][0], ["s0", "s1"]))
    write_store(load(trained), store)
    run = runs(store)["Base / sentiment, seed 0"].info.run_id
    history = MlflowClient(tracking_uri=store).get_metric_history(run, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 0.75), (3, 1.0), (4, 0.75), (5, 0.5)]
    assert history[-1].timestamp - history[0].timestamp == 8000


def record(folder: Path, row: dict[str, Any], stages: list[str]) -> dict[str, Any]:
    old: dict[str, Any] = json.loads((folder / "runs" / row["signature"] / "record.json").read_text())
    return {**old, "stages": stages}


def test_partially_written_run_is_written_again(trained: Path, store: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("ablations / mini-tiny")
    signature = json.loads((trained / "plan.json").read_text())["rows"][0]["signature"]
    half = client.create_run(experiment, tags={"signature": signature}, run_name="half").info.run_id
    assert write_store(load(trained), store) == 2
    assert client.get_run(half).info.lifecycle_stage == "deleted"
    assert {run.info.status for run in runs(store).values()} == {"FINISHED"}


def test_unsupported_store_address_raises_an_error(trained: Path, store: str) -> None:
    with pytest.raises(
        ResultsError, match=r"^the MLflow store 'foo://x' cannot be written: .*unsupported URI 'foo://x'.*; try sqlite:///mlflow.db$"
    ):
        write_store(load(trained), "foo://x")
