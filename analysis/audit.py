"""Published score tables, checked against themselves: do mean and weighted F1 follow from the F1 of the classes, and can any counts of answers give them?

A printed F1 of a class with N clips is 2 right / (answered + N) for whole numbers right <= N and answered. A row is possible if classes can be
chosen so that their right answers add up to the printed accuracy, and their answers to no more than all clips (the rest is unparsed).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict

from analysis.folder import Results
from analysis.units import task_rows
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.errors import ResultsError

PAPER = Path(__file__).with_name("paper.yaml")
SCALE = 1000  # scores have three decimals
TOLERANCE = 0.001  # of a mean of printed numbers
CSV_COLUMNS = ("row", "class", "support", "f1", "accuracy", "macro_f1", "weighted_f1")
AVERAGES = {"macro_f1": "macro F1", "weighted_f1": "weighted F1"}


class _Printed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Table(_Printed):
    """The scores of some rows, each a list in the order of the rows."""

    name: str
    about: str
    corpus: str
    task: str
    supports: dict[str, int]  # clips of each class
    accuracy: tuple[float, ...]
    macro_f1: tuple[float, ...]
    weighted_f1: tuple[float, ...]
    f1: dict[str, tuple[float, ...]]
    smallest: dict[
        str, float
    ] = {}  # score or class -> the difference that one seed on this split finds with 80 % power, simulated; absent where it is not known

    @property
    def supported(self) -> list[str]:
        """The classes that stand on enough source videos, which are those with a known power."""
        return [label for label in self.supports if label in self.smallest]

    @property
    def num_clips(self) -> int:
        """Clips of all classes."""
        return sum(self.supports.values())

    def average(self, metric: str, row: int) -> float:
        """Macro or weighted F1, from the F1 of the classes."""
        weights = {label: 1 if metric == "macro_f1" else clips for label, clips in self.supports.items()}
        return sum(weights[label] * self.f1[label][row] for label in weights) / sum(weights.values())


class Sum(_Printed):
    """Numbers that should add up."""

    what: str
    parts: tuple[int, ...]
    total: int


class Paper(_Printed):
    """Tables with the same rows."""

    rows: tuple[str, ...]
    tables: tuple[Table, ...]
    sums: tuple[Sum, ...] = ()


class Finding(NamedTuple):
    """A cell that does not follow from the others."""

    table: str
    row: str
    cell: str
    printed: float
    says: str


def read_paper(path: Path = PAPER) -> Paper:
    """The published tables."""
    return Paper.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def read_csv(path: Path) -> Paper:
    """Any published table: a line per row and class with the columns of CSV_COLUMNS. Raises ResultsError with the missing column or value."""
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ResultsError(f"{path} cannot be read as a CSV ({error})") from None
    if missing := [name for name in CSV_COLUMNS if name not in frame.columns]:
        raise ResultsError(f"{path} has no column {missing[0]!r}; a line per row and class needs {', '.join(CSV_COLUMNS)}")
    rows = tuple(frame["row"].unique(maintain_order=True))
    classes = frame["class"].unique(maintain_order=True).to_list()
    if frame.height != len(rows) * len(classes) or frame.select("row", "class").is_duplicated().any():
        raise ResultsError(f"{path} has {frame.height} lines, not one for each of {len(rows)} rows and {len(classes)} classes")
    try:
        cells = {
            (line["row"], line["class"]): {name: float(line[name]) for name in CSV_COLUMNS[2:]} for line in frame.iter_rows(named=True)
        }
    except (TypeError, ValueError) as error:
        raise ResultsError(f"{path} has a cell that is no number ({error})") from None
    scores = {name: tuple(cells[row, classes[0]][name] for row in rows) for name in CSV_COLUMNS[4:]}
    f1 = {label: tuple(cells[row, label]["f1"] for row in rows) for label in classes}
    supports = {label: round(cells[rows[0], label]["support"]) for label in classes}
    return Paper(rows=rows, tables=(Table(name=path.name, about=path.stem, corpus="", task="", supports=supports, f1=f1, **scores),))


def of_results(results: Results) -> Iterator[Paper]:
    """A folder's own tables as they would be printed, one a task; a row per seed, because a mean over seeds has no counts."""
    for task in results.plan.tasks:
        found = {
            row.variant if unit.seed is None else f"{row.variant}, seed {unit.seed}": unit.scores
            for row in task_rows(results, task)
            if row.planned
            for unit in row.units
        }
        if found:
            printed = {name: tuple(round(scores.values[name], 3) for scores in found.values()) for name in CSV_COLUMNS[4:]}
            f1 = {label: tuple(round(scores.f1[place], 3) for scores in found.values()) for place, label in enumerate(LABELS[task])}
            supports = dict(zip(LABELS[task], next(iter(found.values())).support, strict=True))
            about = f"{results.plan.corpus.name} {task}"
            table = Table(name=task, about=about, corpus="", task=task, supports=supports, f1=f1, **printed)
            yield Paper(rows=tuple(found), tables=(table,))


def printed_macro_f1(corpus: str, task: str) -> dict[str, float]:
    """Row -> macro F1 as published for a task on a corpus; empty for any other corpus."""
    paper = read_paper()
    tables = [table for table in paper.tables if (table.corpus, table.task) == (corpus, task)]
    return {row: value for table in tables for row, value in zip(paper.rows, table.macro_f1, strict=True)}


def averages(paper: Paper) -> Iterator[Finding]:
    """Macro and weighted F1 that differ from what the classes give by more than TOLERANCE, and than the rounding of the classes explains."""
    for table in paper.tables:
        for place, row in enumerate(paper.rows):
            for metric, heading in AVERAGES.items():
                printed, found = getattr(table, metric)[place], table.average(metric, place)
                if abs(printed - found) > TOLERANCE:
                    yield Finding(table.name, row, heading, printed, f"the classes give {found:.4f}")


def sums(paper: Paper) -> Iterator[str]:
    """Parts that do not add up to their total."""
    for item in paper.sums:
        if sum(item.parts) != item.total:
            yield f"{item.what}: {' + '.join(map(str, item.parts))} = {sum(item.parts)}, not {item.total}"


def impossible(paper: Paper) -> Iterator[Finding]:
    """Cells that no counts of answers give when rounded; and rows whose cells are each possible, but not together."""
    for table in paper.tables:
        for place, row in enumerate(paper.rows):
            accuracy = table.accuracy[place]
            right = rights(accuracy, table.num_clips, _rounded)
            faults = [] if right else [Finding(table.name, row, "accuracy", accuracy, _instead_accuracy(accuracy, table.num_clips))]
            options = {}
            for label, clips in table.supports.items():
                options[label] = counts(table.f1[label][place], clips, table.num_clips, _rounded)
                if not options[label]:
                    cut = counts(table.f1[label][place], clips, table.num_clips, _cut)
                    says = f"no counts of {clips} clips round to it" + (f"; cut off, {_as_fraction(*min(cut), clips)} does" if cut else "")
                    faults.append(Finding(table.name, row, f"F1 of {label}", table.f1[label][place], says))
            if not faults and not _possible_together(list(options.values()), right, table.num_clips):
                faults.append(
                    Finding(
                        table.name, row, "accuracy", accuracy, "each cell is possible alone, but no counts give this accuracy with these F1"
                    )
                )
            yield from faults


def headlines(paper: Paper) -> Iterator[str]:
    """What the printed gains rest on: the majority class, and classes of a few clips."""
    for table in paper.tables:
        majority = max(table.supports.values()) / table.num_clips
        above = [row for row, accuracy in zip(paper.rows, table.accuracy, strict=True) if accuracy > majority + TOLERANCE / 2]
        more = {
            row: round(accuracy * table.num_clips) - max(table.supports.values())
            for row, accuracy in zip(paper.rows, table.accuracy, strict=True)
        }
        clips = ", ".join(f"{row} by {more[row]} clip{'s' * (more[row] > 1)}" for row in above) or "none"
        yield f"{table.name}, {table.about}: always answering the majority class has an accuracy of {majority:.3f}; above it: {clips}"
        for label, support in table.supports.items():
            if support == 1:
                rest = [name for name in table.supports if name != label]
                without = {row: sum(table.f1[name][place] for name in rest) / len(rest) for place, row in enumerate(paper.rows)}
                values = ", ".join(f"{row} {score:.3f}" for row, score in without.items())
                yield f"{table.name}, {table.about}: {label} has one clip; macro F1 of the other {len(rest)} classes: {values}"


def report_lines(paper: Paper) -> Iterator[str]:
    """The audit as text."""
    parts: tuple[tuple[str, list[str]], ...] = (
        ("Averages that the classes do not give", [_line(finding) for finding in averages(paper)] + list(sums(paper))),
        ("Cells that no counts of answers give", [_line(finding) for finding in impossible(paper)]),
        ("What the gains rest on", list(headlines(paper))),
    )
    for heading, lines in parts:
        yield f"{heading}: {len(lines)}"
        yield from (f"  {line}" for line in lines)


def _line(finding: Finding) -> str:
    return f"{finding.table}, {finding.row}, {finding.cell} {finding.printed:.3f}: {finding.says}"


def rights(accuracy: float, num_clips: int, printed_as: Callable[[float, float], bool]) -> set[int]:
    """Numbers of right answers that are printed as this accuracy."""
    return {right for right in range(num_clips + 1) if printed_as(right / num_clips, accuracy)}


def counts(f1: float, support: int, num_clips: int, printed_as: Callable[[float, float], bool]) -> set[tuple[int, int]]:
    """(right, answered) of a class with `support` clips that are printed as this F1."""
    return {
        (right, answered)
        for right in range(support + 1)
        for answered in range(right, num_clips - support + right + 1)
        if printed_as(2 * right / (answered + support), f1)
    }


def _possible_together(options: list[set[tuple[int, int]]], rights: set[int], num_clips: int) -> bool:
    """Whether one choice of each class adds up to a possible number of right answers, with no more answers than clips."""
    reached = {(0, 0)}
    for choices in options:
        reached = {
            (right + more, answered + given) for right, answered in reached for more, given in choices if answered + given <= num_clips
        }
    return any(right in rights for right, _ in reached)


def _rounded(value: float, printed: float) -> bool:
    """Whether it is printed so; a value half-way may have been rounded up or to the even digit."""
    return abs(value - printed) * SCALE <= 0.5 + 1e-6


def _cut(value: float, printed: float) -> bool:
    """Whether it is printed so with the further digits cut off."""
    return math.floor(value * SCALE + 1e-6) == round(printed * SCALE)


def _as_fraction(right: int, answered: int, clips: int) -> str:
    return f"2 * {right} / ({answered} + {clips})"


def _instead_accuracy(accuracy: float, num_clips: int) -> str:
    if cut := rights(accuracy, num_clips, _cut):
        return f"no number of {num_clips} clips rounds to it; cut off, {min(cut)}/{num_clips} does"
    near = round(accuracy * num_clips)
    return f"no number of {num_clips} clips rounds to it, nor is cut off to it; {near}/{num_clips} = {near / num_clips:.4f}"
