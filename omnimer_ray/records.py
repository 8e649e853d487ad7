"""Stage and run records: written once, atomically, and read back. A run is done when its `record.json` exists.

results/<space>/<corpus>-<base>[-limitN][-foldsK]/
  trials.json, trials/      of a search: outcome of every trial; the study, and stages/, runs/, rungs/ that enter no table
  plan.json                 rows of the tables with their signatures
  registration.jsonl        contrasts, written before the runs; lines are only ever added, and a run's record holds the hash of the last one
  clips.parquet             CLIPS
  ledger.parquet            LEDGER: how each auxiliary answer was made
  stages/<key>/             adapter_model.safetensors, adapter_config.json, inference.json, history.jsonl, checkpoints/, cost.json, record.json; README.md
  runs/<signature>/         config.json, predictions.parquet (PREDICTIONS), cost.json, and last record.json
  tables/ figures/ report.html tensorboard/
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnimer_ray.config import content_hash
from omnimer_ray.errors import ResultsError, StorageError

if TYPE_CHECKING:
    import polars as pl

RECORD = "record.json"
REGISTRATION = "registration.jsonl"
INFERENCE = "inference.json"  # beside an adapter: its config, for use without the results folder
ADDED_COLUMNS = (
    "corpus",
    "closed_set_mass",
    "generated",
    "why",
    "attempts",
    "prompts",
    "base_revision",
    "decoding",
)  # null in files of before they were added


def clips_schema() -> dict[str, Any]:
    """Columns of clips.parquet, a row per clip of the corpus and of each that runs answer besides; a label that a corpus does not give is null."""
    import polars as pl

    labels = ("sentiment", "emotion", "text_sentiment", "video_sentiment", "audio_sentiment")
    texts = ("corpus", "clip", "split", "source_video", "topic", "text", *labels)
    return {**dict.fromkeys(texts, pl.String), "thumbnails": pl.Binary}  # thumbnails: one JPEG strip, or null


def predictions_schema() -> dict[str, Any]:
    """Columns of predictions.parquet: one row per (evaluation corpus, clip, instruction).

    `prediction` is null if the answer could not be parsed. `gold_distribution` and `probabilities` follow the task's label
    order and are null if they are unknown. `closed_set_mass`, `generated`: null in files of before they were added.
    """
    import polars as pl

    return {
        "evaluation_corpus": pl.String,
        "clip": pl.String,
        "instruction": pl.String,
        "gold": pl.String,
        "gold_distribution": pl.List(pl.Float64),
        "prediction": pl.String,
        "predicted_sentiment": pl.String,  # the polarity in an emotion answer
        "probabilities": pl.List(pl.Float64),
        "answer": pl.String,  # what the model wrote
        "closed_set_mass": pl.Float64,  # probability of all answers of the closed set; `probabilities` are normalised over them
        "generated": pl.Boolean,  # decoded token by token; False: found in the closed set of answers
    }


def prediction_row(**known: Any) -> dict[str, Any]:
    """A row of predictions.parquet; a column that is not given is null. Raises KeyError for a column that does not exist."""
    row = dict.fromkeys(predictions_schema())
    if unknown := known.keys() - row.keys():
        raise KeyError(f"predictions.parquet has no column {min(unknown)!r}")
    return row | known


def ledger_schema() -> dict[str, Any]:
    """Columns of ledger.parquet; `made` is agreed, constrained or rejected, and `answer` is null if rejected.

    `why` says what was wrong with the free answer of a constrained entry, or with the last answer of a rejected one. `attempts` counts
    all answers of both steps. `why` and the columns after it are null in entries of before they were added.
    """
    import polars as pl

    names = ("clip", "instruction", "gold", "made", "free_answer", "free_sentiment", "constrained_answer", "answer")
    return {
        **dict.fromkeys(names, pl.String),
        "why": pl.String,
        "attempts": pl.Int64,
        "prompts": pl.String,  # hash of the prompts of both steps
        "base_revision": pl.String,
        "decoding": pl.String,  # of the accepted answer, or of the last one: greedy, or sampled
    }


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then fsync and rename: a reader sees the old file or the complete new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; finished work is kept; fix this and run the same command again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(path: Path, value: Any) -> None:
    """Plain data as indented JSON, atomically."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """The data of a JSON file. Raises ResultsError if it is not valid."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path} is not valid JSON ({error}); remove it, and the same command makes it again") from error


def write_table(path: Path, frame: pl.DataFrame) -> None:
    """A frame as Parquet, atomically."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)  # into memory first: polars reports a full disk as a damaged file
    write_atomically(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write `record` with the hashes of the folder's files. It is written last: from now on the stage or run is done."""
    files = {
        file.name: file_hash(file)
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(".") and file.name != RECORD
    }
    write_json(folder / RECORD, {**record, "files": files})


def read_record(folder: Path) -> dict[str, Any] | None:
    """The folder's record, or None without one. Raises ResultsError if a recorded file is missing."""
    if not (folder / RECORD).exists():
        return None
    record = read_json(folder / RECORD)
    if not isinstance(record, dict):
        raise ResultsError(f"{folder / RECORD} is no record; remove {folder}, and the same command makes it again")
    for name in record.get("files", {}):
        if not (folder / name).exists():
            raise ResultsError(f"{folder / name} is recorded but missing; remove {folder}, and the same command makes it again")
    return record


def check_recorded(path: Path) -> None:
    """Raise ResultsError if the record beside a file has another hash of it. A record of an older sweep may have none."""
    recorded = ((read_record(path.parent) or {}).get("files") or {}).get(path.name)
    if recorded is not None and (found := file_hash(path)) != recorded:
        raise ResultsError(
            f"{path} is damaged: its hash is {found}, and {recorded} in the record beside it; "
            f"remove {path.parent}, and the same command makes it again"
        )


def registrations(folder: Path) -> list[dict[str, Any]]:
    """The lines of a folder's registration, in order; an incomplete last line is left out. Raises ResultsError for a line that was changed."""
    path, found = folder / REGISTRATION, list[dict[str, Any]]()
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else (), 1):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if line.get("hash") != registration_hash(line):
            raise ResultsError(f"{path}, line {number}: its hash is not that of its content; a registration may be added to, not changed")
        found.append(line)
    return found


def registration_hash(line: dict[str, Any]) -> str:
    """Of a registration's content."""
    return content_hash({name: value for name, value in line.items() if name != "hash"})


def registered(folder: Path) -> str | None:
    """The hash of the last registration, for the record of a run."""
    return lines[-1]["hash"] if (lines := registrations(folder)) else None


def read_history(stage: Path) -> list[dict[str, Any]]:
    """The steps in a stage's history, in order; an incomplete last line is left out."""
    path = stage / "history.jsonl"
    steps = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            steps.append(json.loads(line))
    return [step for step in steps if isinstance(step, dict) and "step" in step]


def file_hash(path: Path) -> str:
    """16 hex digits of the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
