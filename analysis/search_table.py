"""The trials of a search in trials.json, one row each; they were scored inside train and are in no other table."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from analysis.formats import pages
from analysis.planned import Loose, Plan, read_plan
from analysis.render import GAP, Grid, decimal, marked
from omnimer_ray.config import parse
from omnimer_ray.errors import ConfigError, ResultsError
from omnimer_ray.records import read_json, write_atomically

PARAMS = ("auxiliaries", "schedule", "rank", "alpha", "learning_rate", "auxiliary_weight")
HEADINGS = ("trial", "outcome", "auxiliaries", "schedule", "rank", "alpha", "rate", "weight", "macro F1", "steps")
ABOUT = (
    "Macro F1 on a development part, one seed: for choosing only. No trial saw a clip of the reported part.",
    "weight: of each auxiliary against the main task. pruned: ended at a fraction of its stage. A trial that ended otherwise has no score.",
)


class TrialRow(Loose):
    """One trial; `params` holds only the parameters that were drawn for it."""

    number: int
    outcome: str | None = None  # None: not finished
    reason: str | None = None
    params: dict[str, str | int | float]
    development_f1: float | None = Field(None, ge=0, le=1)
    num_steps: int | None = None
    signature: str | None = None
    repeats: int | None = None


class Trials(Loose):
    """trials.json."""

    trials: tuple[TrialRow, ...]


def write_search(folder: str | Path) -> list[Path]:
    """Rebuild the table of trials; returns its files, Markdown first."""
    paths = {Path(folder) / "tables" / name: text for name, text in search_pages(Path(folder)).items()}
    for path, text in paths.items():
        write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))
    return list(paths)


def search_pages(folder: Path) -> dict[str, str]:
    """File name -> text; empty for a sweep that is no search."""
    if not (folder / "trials.json").exists():
        return {}
    plan, trials = read_plan(folder), read_trials(folder)
    notices = dict.fromkeys(notice for notice in (plan.corpus.stand_in, plan.base.stand_in) if notice)
    notes = [*(f"STAND-IN: {notice}" for notice in notices), *ABOUT, *_reasons(trials)]
    signatures = [f"{trial.number}: {trial.signature}" for trial in trials if trial.signature]
    return {
        **pages("search", marked(search_grid(trials), notices), notes, signatures, plan.command),
        "search.csv": _csv(search_table(trials), plan, "; ".join(notices)),
    }


def read_trials(folder: Path) -> tuple[TrialRow, ...]:
    """Read the trials of a folder. Raises ResultsError with the invalid field."""
    path = folder / "trials.json"
    try:
        return parse(Trials, read_json(path), str(path)).trials
    except ConfigError as error:
        raise ResultsError(str(error)) from None


def search_table(trials: tuple[TrialRow, ...]) -> pl.DataFrame:
    """A row per trial in the order in which they were drawn; a parameter that was not drawn is null."""
    numbers = {"rank": pl.Int64, "alpha": pl.Int64, "learning_rate": pl.Float64, "auxiliary_weight": pl.Float64}
    schema: dict[str, Any] = {
        "trial": pl.Int64,
        "outcome": pl.String,
        **{name: numbers.get(name, pl.String) for name in PARAMS},
        "development_f1": pl.Float64,
        "num_steps": pl.Int64,
        "repeats": pl.Int64,
        "reason": pl.String,
        "signature": pl.String,
    }
    rows = [{**trial.model_dump(), **trial.params, "trial": trial.number, "outcome": trial.outcome or "not finished"} for trial in trials]
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def trials_grid(folder: Path) -> Grid | None:
    """The table of a folder as printed; None for a sweep that is no search."""
    return search_grid(read_trials(folder)) if (folder / "trials.json").exists() else None


def search_grid(trials: tuple[TrialRow, ...]) -> Grid:
    """The table as printed."""
    return Grid("Search: trials", HEADINGS, tuple(_cells(row) for row in search_table(trials).iter_rows(named=True)))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    score = GAP if row["development_f1"] is None else decimal(row["development_f1"])
    weight = GAP if row["auxiliary_weight"] is None else f"{row['auxiliary_weight']:.2g}"
    steps = GAP if row["num_steps"] is None else str(row["num_steps"])
    known = (str(row[name]) for name in ("rank", "alpha"))
    return (
        str(row["trial"]),
        row["outcome"].replace("_", " "),
        row["auxiliaries"],
        row["schedule"] or GAP,
        *known,
        f"{row['learning_rate']:.2g}",
        weight,
        score,
        steps,
    )


def _reasons(trials: tuple[TrialRow, ...]) -> list[str]:
    """Reasons why trials have no score, and the trials whose score they share."""
    lines = [f"Trial {trial.number}: {(trial.outcome or '').replace('_', ' ')} ({trial.reason})." for trial in trials if trial.reason]
    return lines + [f"Trial {trial.number} is the same run as trial {trial.repeats}." for trial in trials if trial.repeats is not None]


def _csv(table: pl.DataFrame, plan: Plan, stand_in: str) -> str:
    about = {
        "corpus": f"{plan.corpus.name} {plan.corpus.fingerprint}",
        "base": f"{plan.base.name} {plan.base.revision}",
        "stand_in": stand_in,
        "command": plan.command,
    }
    return table.with_columns(pl.lit(value).alias(name) for name, value in about.items()).write_csv()
