"""A results folder -> polars frames with declared columns, checked: nothing is dropped, and every invalid value is reported.

The first of the three steps load, reduce, render. Only runs that are recorded as `done` have predictions here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from analysis.planned import Plan, PlanCorpus, PlanRow, read_plan, scored_splits
from omnimer_ray.config import AUXILIARY_OF
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.errors import ResultsError
from omnimer_ray.records import (
    ADDED_COLUMNS,
    clips_schema,
    file_hash,
    ledger_schema,
    predictions_schema,
    read_json,
    read_record,
    registrations,
)

T = TypeVar("T")
CHANGES = ("adapter_change", "sound_change", "frames_change")
DONE, MISSING = "done", "missing"  # outcomes: the only one with scores; no record yet


@dataclass(frozen=True, eq=False)
class Results:
    """A results folder, read. `runs` has one row per planned run, recorded or not."""

    folder: Path
    plan: Plan
    runs: pl.DataFrame  # runs_schema()
    predictions: pl.DataFrame  # predictions_schema(), signature, source_video: of the runs that are done, one row per clip
    auxiliary_answers: pl.DataFrame  # the same columns: answers to the auxiliary instructions, of the runs that gave them
    clips: pl.DataFrame  # clips_schema(), of the corpus that runs are trained on
    elsewhere: pl.DataFrame  # the columns of `predictions`: answers to clips of other corpora
    other_clips: pl.DataFrame  # clips_schema(), of those corpora
    ledger: pl.DataFrame  # ledger_schema(); empty without supervision
    registrations: tuple[dict[str, Any], ...]  # lines of the registration, the first before any of its runs
    unplanned: tuple[str, ...]  # recorded signatures that are in no row of the plan

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """Notices of the stand-ins in corpora, base and records, each once."""
        corpora = [corpus.stand_in for corpus in (self.plan.corpus, *self.plan.evaluated_on)]
        notices = [*corpora, self.plan.base.stand_in, *self.runs["stand_in"].to_list()]
        return tuple(dict.fromkeys(notice for notice in notices if notice))

    def is_registered(self, row: str, reference: str) -> bool:
        """Whether the contrast was registered before every finished run of both rows."""
        having = {line["hash"] for line in self.registrations if [row, reference] in line["contrasts"]}
        runs = self.runs.filter(pl.col("variant").is_in([row, reference]) & (pl.col("outcome") == DONE))
        return not runs.is_empty() and set(runs["registration"]) <= having

    def settings(self, signature: str) -> dict[str, Any]:
        """A run's config.json; empty without one."""
        path = self.folder / "runs" / signature / "config.json"
        return read_json(path) if path.exists() else {}

    def on(self, corpus: PlanCorpus) -> Results:
        """The same runs, scored on another corpus."""
        mine = pl.col("evaluation_corpus") == corpus.name
        return replace(
            self,
            plan=self.plan.model_copy(update={"corpus": corpus}),
            predictions=self.elsewhere.filter(mine),
            clips=self.other_clips.filter(pl.col("corpus") == corpus.name),
            auxiliary_answers=self.auxiliary_answers.clear(),
        )


def runs_schema() -> dict[str, Any]:
    """Columns of `Results.runs`; columns from the record are null without one."""
    return {
        "variant": pl.String,
        "task": pl.String,
        "seed": pl.Int64,
        "fold": pl.Int64,
        "signature": pl.String,
        "outcome": pl.String,  # done, missing, or how the run failed
        "reason": pl.String,
        "method": pl.String,
        "stages": pl.List(pl.String),
        "num_steps": pl.Int64,
        "registration": pl.String,  # hash of the last registration when the run was recorded; null in records of before it was added
        "main_items": pl.Int64,  # that were trained on, repeats included; null in records of before it was added
        "shown": pl.List(pl.String),  # modalities at evaluation; with the two columns below null in records of before they were added
        "missing_rate": pl.Float64,  # of each modality of each clip
        "draw": pl.Int64,
        "validation_opened": pl.String,  # how often the reported part was looked at, and why
        "stand_in": pl.String,
        **dict.fromkeys(CHANGES, pl.Float64),  # largest change of a logit without the adapter, the sound, the pictures
        "same_prompts": pl.Boolean,  # the main task was trained with the prompts that it is evaluated with
    }


def load(folder: str | Path) -> Results:
    """Read a results folder into frames. Raises ResultsError with every run whose file, column or value is missing or invalid."""
    folder = Path(folder)
    plan = read_plan(folder)
    clips = read_frame(folder / "clips.parquet", clips_schema())
    ledger_file = folder / "ledger.parquet"
    ledger = read_frame(ledger_file, ledger_schema()) if ledger_file.exists() else pl.DataFrame(schema=ledger_schema())
    if (repeated := clips.filter(clips.select("corpus", "clip").is_duplicated())["clip"].unique(maintain_order=True)).len():
        raise ResultsError(
            f"{folder / 'clips.parquet'} holds clip {repeated[0]!r} more than once; remove it, and the same command makes it again"
        )
    clips = clips.with_columns(pl.col("corpus").fill_null(plan.corpus.name))
    other_clips, clips = clips.filter(pl.col("corpus") != plan.corpus.name), clips.filter(pl.col("corpus") == plan.corpus.name)
    faults: list[str] = []
    signatures = dict.fromkeys(row.signature for row in plan.rows)
    records = {signature: _kept(faults, partial(read_record, folder / "runs" / signature)) for signature in signatures}
    done = {row.signature: row for row in plan.rows if (records[row.signature] or {}).get("outcome") == DONE}
    read = {
        row.signature: _kept(
            faults, partial(_answers, folder / "runs" / row.signature, row, plan, records[row.signature] or {}, clips, other_clips)
        )
        for row in done.values()
    }
    registered = _kept(faults, partial(registrations, folder)) or []
    if faults:
        raise ResultsError("; ".join(faults) if len(faults) == 1 else f"{len(faults)} faults: {'; '.join(faults)}")
    answers = [found for found in read.values() if found is not None]
    frames, auxiliary, elsewhere = (list(part) for part in zip(*answers, strict=True)) if answers else ([], [], [])
    _check_folds(folder, list(done.values()), frames)
    columns = {"signature": pl.String, **predictions_schema(), "source_video": pl.String}
    return Results(
        folder=folder,
        plan=plan,
        runs=pl.DataFrame([_run(row, records[row.signature]) for row in plan.rows], schema=runs_schema()),
        predictions=pl.concat(frames) if frames else pl.DataFrame(schema=columns),
        auxiliary_answers=pl.concat(auxiliary) if auxiliary else pl.DataFrame(schema=columns),
        clips=clips,
        elsewhere=pl.concat(elsewhere) if elsewhere else pl.DataFrame(schema=columns),
        other_clips=other_clips,
        ledger=ledger,
        registrations=tuple(registered),
        unplanned=tuple(_unplanned(folder, records)),
    )


def _kept(faults: list[str], read: Callable[[], T]) -> T | None:
    """What is read, or its fault added to the others."""
    try:
        return read()
    except ResultsError as error:
        faults.append(str(error))
        return None


def read_frame(path: Path, schema: dict[str, Any]) -> pl.DataFrame:
    """Read a Parquet file's declared columns in their declared types; an added column may be absent. Raises ResultsError with file and column."""
    if not path.exists():
        raise ResultsError(f"{path} is not there; is {path.parent} a results folder? The sweep's command makes the file")
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ResultsError(f"{path} cannot be read as Parquet ({error}); remove it, and the same command makes it again") from error
    frame = frame.with_columns(pl.lit(None).alias(name) for name in ADDED_COLUMNS if name in schema and name not in frame.columns)
    for name, dtype in schema.items():
        if name not in frame.columns:
            raise ResultsError(f"{path} has no column {name!r}; it holds {', '.join(frame.columns)}")
        if frame[name].dtype not in (dtype, pl.Null):
            raise ResultsError(f"{path}: column {name!r} is {frame[name].dtype}, not {dtype}")
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _run(row: PlanRow, record: dict[str, Any] | None) -> dict[str, Any]:
    known = record or {"outcome": MISSING}
    observed = known.get("observed") or {}
    shown = {"shown": observed.get("modalities"), "missing_rate": observed.get("missing_rate"), "draw": observed.get("draw")}
    checks = known.get("checks") or {}
    changes = {name: checks.get(name.removesuffix("_change")) for name in CHANGES}
    copied = (
        "outcome",
        "reason",
        "method",
        "stages",
        "num_steps",
        "main_items",
        "registration",
        "stand_in",
        "same_prompts",
        "validation_opened",
    )
    return {**row.model_dump(), **{name: known.get(name) for name in copied}, **shown, **changes}


def _unplanned(folder: Path, planned: Iterable[str]) -> list[str]:
    runs = folder / "runs"
    known = set(planned)
    return sorted(run.parent.name for run in runs.glob("*/record.json") if run.parent.name not in known)


def _answers(
    run: Path, row: PlanRow, plan: Plan, record: dict[str, Any], clips: pl.DataFrame, other_clips: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """A finished run's answers, each with the clip's source video: to its task on its own corpus, to auxiliary instructions, to its task on other corpora."""
    path = run / "predictions.parquet"
    mend = f"remove {run}, and the same command makes it again"
    if (recorded := record.get("files", {}).get(path.name)) is None:
        raise ResultsError(f"{run / 'record.json'} has outcome done but records no {path.name}; {mend}")
    if recorded != file_hash(path):
        raise ResultsError(f"{path} is not the file that was recorded (hash {file_hash(path)}, recorded {recorded}); {mend}")
    whole = read_frame(path, predictions_schema())
    others = [_elsewhere(path, whole, row, corpus, other_clips, mend) for corpus in plan.evaluated_on]
    frame = whole.filter(pl.col("evaluation_corpus") == plan.corpus.name)
    auxiliary, frame = frame.filter(pl.col("instruction").is_in(AUXILIARY_OF)), frame.filter(pl.col("instruction") == row.task)
    if (repeated := frame.filter(frame["clip"].is_duplicated())["clip"]).len():
        raise ResultsError(f"{path} answers clip {repeated[0]!r} more than once; {mend}")
    expected = clips.filter(pl.col(row.task).is_not_null() & pl.col("split").is_in(scored_splits(plan)))
    if stray := sorted(set(frame["clip"]) - set(expected["clip"])):
        raise ResultsError(f"{path} answers clip {stray[0]!r}, which clips.parquet does not offer for it; {mend}")
    if row.fold is None and (absent := sorted(set(expected["clip"]) - set(frame["clip"]))):
        raise ResultsError(f"{path} lacks {len(absent)} of {expected.height} scored clips, as {absent[0]!r}; {mend}")
    if frame.is_empty():
        raise ResultsError(f"{path} holds no answers to {row.task!r} on corpus {plan.corpus.name!r}; {mend}")
    _check_labels(path, frame, row.task, expected)
    _check_auxiliary(path, auxiliary, clips)

    other = pl.concat(others) if others else whole.clear()
    return _located(run, frame, clips), _located(run, auxiliary, clips), _located(run, other, other_clips)


def _located(run: Path, frame: pl.DataFrame, clips: pl.DataFrame) -> pl.DataFrame:
    """Answers with the signature of their run and their clips' source videos."""
    videos = clips.select(pl.col("corpus").alias("evaluation_corpus"), "clip", "source_video")
    joined = frame.join(videos, on=["evaluation_corpus", "clip"], how="left")
    return joined.select(pl.lit(run.name).alias("signature"), pl.all()).sort("evaluation_corpus", "instruction", "clip")


def _elsewhere(path: Path, whole: pl.DataFrame, row: PlanRow, corpus: PlanCorpus, clips: pl.DataFrame, mend: str) -> pl.DataFrame:
    """A run's answers to another corpus: all of its reported part, or none if it has no labels for the task."""
    frame = whole.filter((pl.col("evaluation_corpus") == corpus.name) & (pl.col("instruction") == row.task))
    expected = clips.filter((pl.col("corpus") == corpus.name) & pl.col(row.task).is_not_null() & (pl.col("split") == corpus.reported))
    if sorted(frame["clip"]) != sorted(expected["clip"]):
        raise ResultsError(f"{path} answers {frame.height} of {expected.height} {corpus.reported} clips of {corpus.name}; {mend}")
    _check_labels(path, frame, row.task, expected)
    return frame


def _check_labels(path: Path, frame: pl.DataFrame, task: str, clips: pl.DataFrame) -> None:
    """Check that gold labels are the corpus's labels, and predictions labels or null."""
    joined = frame.join(clips.select("clip", pl.col(task).alias("label")), on="clip")
    for clip, gold, label in joined.filter(pl.col("gold").ne_missing(pl.col("label"))).select("clip", "gold", "label").iter_rows():
        raise ResultsError(f"{path}: clip {clip!r} has gold {gold!r}, but {label!r} in clips.parquet; the corpus changed under the sweep")
    for name, kind in (("gold", task), ("prediction", task), ("predicted_sentiment", "sentiment")):
        if unknown := sorted(set(frame[name].drop_nulls()) - set(LABELS[kind])):
            raise ResultsError(f"{path}: {name} {unknown[0]!r} is no {kind} label; known: {', '.join(LABELS[kind])}")


def _check_auxiliary(path: Path, frame: pl.DataFrame, clips: pl.DataFrame) -> None:
    """Check that answers to auxiliary instructions are of known clips, with sentiments as labels."""
    if stray := sorted(set(frame["clip"]) - set(clips["clip"])):
        raise ResultsError(f"{path} answers clip {stray[0]!r}, which clips.parquet does not hold; the corpus changed under the sweep")
    for name in ("gold", "prediction"):
        if unknown := sorted(set(frame[name].drop_nulls()) - set(LABELS["sentiment"])):
            raise ResultsError(
                f"{path}: {name} {unknown[0]!r} of an auxiliary answer is no sentiment; known: {', '.join(LABELS['sentiment'])}"
            )


def _check_folds(folder: Path, rows: Iterable[PlanRow], frames: Iterable[pl.DataFrame]) -> None:
    """Check that runs of one fold answer the same clips, and that no clip is in two folds: otherwise pooling would mix folds or count clips twice."""
    held_out: dict[tuple[str, int], set[str]] = {}
    fold_of: dict[tuple[str, str], int] = {}
    for row, frame in zip(rows, frames, strict=True):
        if row.fold is None:
            continue
        clips, run = set(frame["clip"]), folder / "runs" / row.signature
        if held_out.setdefault((row.task, row.fold), clips) != clips:
            raise ResultsError(f"{run}: fold {row.fold} holds other clips than in another run; the folds changed under the sweep")
        for clip in sorted(clips):
            if (other := fold_of.setdefault((row.task, clip), row.fold)) != row.fold:
                raise ResultsError(f"{run}: clip {clip!r} is in folds {other} and {row.fold}; the folds changed under the sweep")
