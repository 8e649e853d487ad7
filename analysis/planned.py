"""Reading of plan.json: the rows of each table with their signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from omnimer_ray.config import parse
from omnimer_ray.errors import ConfigError, ResultsError
from omnimer_ray.records import read_json


class Loose(BaseModel):
    """A frozen model that ignores fields of newer versions."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PlanCorpus(Loose):
    """The split that was evaluated."""

    name: str
    fingerprint: str
    limit: int | None = None
    folds: int | None = None
    stand_in: str | None = None
    excluded: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reported: Literal["validation", "test"] = "validation"
    notes: tuple[str, ...] = ()  # printed under every table


class PlanBase(Loose):
    """The base model."""

    name: str
    revision: str
    stand_in: str | None = None


class PlanRow(Loose):
    """One planned run and its cell; `seed` is null if nothing is trained, `fold` is null without folds."""

    variant: str
    task: Literal["sentiment", "emotion"]
    seed: int | None = None
    fold: int | None = None
    signature: str = Field(pattern=r"^[0-9A-Za-z_-]+$")  # the name of a folder


class Plan(Loose):
    """plan.json: the rows of the tables with their signatures."""

    space: str
    question: str
    corpus: PlanCorpus
    evaluated_on: tuple[PlanCorpus, ...] = ()  # other corpora that runs answer
    base: PlanBase
    command: str  # the same command resumes, and ends by rebuilding the tables
    variants: tuple[str, ...]
    notes: dict[str, str] = {}  # of a variant: what its row rules out
    tasks: tuple[Literal["sentiment", "emotion"], ...]
    rows: tuple[PlanRow, ...]
    reference: str | None = None  # the row that the others are compared with; absent in older plans
    contrasts: tuple[tuple[str, str], ...] = ()  # (row, reference) that the sweep registers

    @property
    def baseline(self) -> str | None:
        """The row that others are compared with."""
        return self.reference or ("Base" if "Base" in self.variants else None)

    @property
    def compared(self) -> tuple[tuple[str, str], ...]:
        """The plan's contrasts, then every other row against the reference."""
        reference = self.baseline
        listed = {name for pair in self.contrasts for name in pair} if self.contrasts else {reference}
        rest = [(name, reference) for name in self.variants if reference and name not in listed and name != reference]
        return (*self.contrasts, *rest)


def read_plan(folder: Path) -> Plan:
    """Read the folder's plan. Raises ResultsError if it is missing or if its rows cannot fill tables."""
    path = folder / "plan.json"
    if not path.exists():
        raise ResultsError(f"{path} is not there; give a results folder, as results/<space>/<corpus>-<base>")
    try:
        plan = parse(Plan, read_json(path), str(path))
    except ConfigError as error:
        raise ResultsError(str(error)) from None
    if faults := list(_faults(plan)):
        raise ResultsError(f"{path}: " + "; ".join(faults))
    return plan


def _faults(plan: Plan) -> Iterator[str]:
    for variant in dict.fromkeys(row.variant for row in plan.rows if row.variant not in plan.variants):
        yield f"rows name {variant!r}, which is none of its variants"
    folds = [None] if plan.corpus.folds is None else list(range(plan.corpus.folds))
    units: dict[tuple[str, str, int | None], list[int | None]] = {}
    for row in plan.rows:
        units.setdefault((row.variant, row.task, row.seed), []).append(row.fold)
    for (variant, task, seed), planned in units.items():
        if sorted(planned, key=str) != sorted(folds, key=str):  # pooled over other clips, its scores would compare with no other row's
            yield f"{variant!r}, {task}, seed {seed} has rows for folds {planned}, not one for each of {folds}"


def scored_splits(plan: Plan) -> tuple[str, ...]:
    """The splits that runs are scored on: the reported one, or under folds all that folds are cut from."""
    reported = plan.corpus.reported
    return (reported,) if plan.corpus.folds is None else tuple(dict.fromkeys(("train", "validation", reported)))
