"""Finished runs -> a local MLflow store: settings, scores and every step. Runs are identified by their signature; existing ones are not changed.

Needs the extra `mlflow`; nothing is sent from this machine, and MLflow's usage reports are off.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import polars as pl

from analysis.folder import DONE, Results
from omnimer_ray.config import flat
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.errors import MissingExtraError, ResultsError
from omnimer_ray.metrics import scores
from omnimer_ray.records import read_history, read_json

BATCH = 1000  # MLflow's limit of metrics in one call
Metrics = Iterator[tuple[str, float, int, float]]  # name, value, step, seconds of training before it


def write_store(results: Results, store: str) -> int:
    """Write the finished runs that `store` (as sqlite:///mlflow.db) lacks; return their number. Raises ResultsError if MLflow refuses them."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise MissingExtraError("mlflow", "mlflow") from None
    done = [row for row in results.runs.unique("signature", maintain_order=True).iter_rows(named=True) if row["outcome"] == DONE]
    try:
        client = MlflowClient(tracking_uri=store)
        experiment = _experiment(client, f"{results.plan.space} / {results.folder.resolve().name}")
        return sum(_write_run(client, experiment, results, row) for row in done)
    except MlflowException as error:
        raise ResultsError(
            f"the MLflow store {store!r} cannot be written: {str(error).split('. ')[0].strip()}; try sqlite:///mlflow.db"
        ) from error


def _experiment(client: Any, name: str) -> str:
    known = client.get_experiment_by_name(name)
    return str(known.experiment_id if known else client.create_experiment(name))


def _write_run(client: Any, experiment: str, results: Results, row: dict[str, Any]) -> bool:
    """Write a run unless it exists; return whether it was written. A run that an interrupted export left incomplete is deleted first."""
    from mlflow.entities import Metric, Param

    for known in client.search_runs([experiment], filter_string=f"tags.signature = '{row['signature']}'"):
        if known.info.status == "FINISHED":
            return False
        client.delete_run(known.info.run_id)
    config = read_json(results.folder / "runs" / row["signature"] / "config.json")
    now = int(time.time() * 1000)
    run = client.create_run(experiment, start_time=now, tags=_tags(results, row), run_name=_title(row)).info.run_id
    client.log_batch(run, params=[Param(name, str(value)) for name, value in flat(config).items()])
    metrics = [Metric(name, value, now + round(1000 * sec), step) for name, value, step, sec in _metrics(results, row)]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[start : start + BATCH])
    client.set_terminated(run, end_time=metrics[-1].timestamp)
    return True


def _title(row: dict[str, Any]) -> str:
    return f"{row['variant']} / {row['task']}" + "".join(f", {name} {row[name]}" for name in ("seed", "fold") if row[name] is not None)


def _tags(results: Results, row: dict[str, Any]) -> dict[str, str]:
    plan, notices = results.plan, [f"STAND-IN: {notice}" for notice in results.stand_ins]
    return {
        "signature": row["signature"],
        "space": plan.space,
        "variant": row["variant"],
        "stages": " ".join(row["stages"] or ()),
        "stand_in": "; ".join(results.stand_ins),
        "mlflow.note.content": "\n\n".join([*notices, plan.question, f"`{plan.command}`"]),  # shown as the description on MLflow's pages
    }


def _metrics(results: Results, row: dict[str, Any]) -> Metrics:
    """Metrics of every step of the run's stages in order, then the scores at the last step."""
    step, sec = 0, 0.0
    for key in row["stages"] or ():
        for entry in read_history(results.folder / "stages" / key):
            step, sec = step + 1, sec + entry["sec"]
            for name, value in (("loss", entry["loss"]), ("learning_rate", entry["learning_rate"]), ("step_sec", entry["sec"])):
                yield f"train/{name}", float(value), step, sec
    mine = results.predictions.filter(pl.col("signature") == row["signature"])
    of = scores(gold=mine["gold"].to_list(), predicted=mine["prediction"].to_list(), labels=LABELS[row["task"]])
    for name, value in (*of.values.items(), ("unparsed", of.unparsed), ("num_clips", of.num_clips)):
        yield f"validation/{name}", float(value), step, sec
    for label, f1, support in zip(of.labels, of.f1, of.support, strict=True):
        yield f"validation_f1/{label}", f1, step, sec
        yield f"validation_support/{label}", float(support), step, sec
