"""Main effects and interactions of the auxiliary tasks, from the settings of runs and not from the names of rows.

Rows that differ in nothing but their auxiliaries, one for every subset, are a factorial design. The main effect of an auxiliary is the mean gain
from adding it, over all subsets of the others; an interaction of two is half of what one gains more where the other is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import polars as pl

from analysis.folder import Results
from analysis.intervals import PRIMARY, task_intervals
from analysis.units import Row
from omnimer_ray.config import flat

FREE = {
    "auxiliaries",
    "schedule",
    "mixture",
    "supervision",
    "seed",
    "fold",
}  # settings that a row without auxiliaries does not have, or that units of a row differ in
SHOWN = {"schedule": "schedule", "lora.rank": "rank", "lora.placement": "placement", "epochs": "epochs"}


class Design(NamedTuple):
    """A row for every subset of some auxiliaries."""

    name: str
    rows: dict[frozenset[str], str]

    @property
    def factors(self) -> list[str]:
        """The auxiliaries."""
        return sorted(frozenset().union(*self.rows), key="text video audio".index)


def effects_schema() -> dict[str, Any]:
    """Columns of a table of effects; intervals and p-values of t tests are null where none can be given."""
    measured = [f"{question}_{part}" for question in ("models", "recipe") for part in ("low", "high", "p")]
    return {"design": pl.String, "effect": pl.String, PRIMARY: pl.Float64, **dict.fromkeys(measured, pl.Float64)}


def effects_table(results: Results, task: str) -> pl.DataFrame:
    """Every effect of every complete design of a task; empty without one."""
    intervals, rows = task_intervals(results, task), []
    if not intervals.supported:
        return pl.DataFrame(schema=effects_schema())
    for design in designs(results, task, intervals.shared):
        half = 2 ** (len(design.factors) - 1)
        for size in range(1, len(design.factors) + 1):
            for chosen in combinations(design.factors, size):
                weights = {row: (-1) ** len(set(chosen) - subset) / half for subset, row in design.rows.items()}
                found = intervals.contrast(weights, PRIMARY)
                cells: dict[str, Any] = {"design": design.name, "effect": " × ".join(chosen), PRIMARY: found.models.value}
                for question, estimate in found._asdict().items():
                    cells |= {f"{question}_{part}": getattr(estimate, part) for part in ("low", "high", "p")}
                rows.append(cells)
    return pl.DataFrame(rows, schema=effects_schema())


def designs(results: Results, task: str, rows: list[Row]) -> Iterator[Design]:
    """The complete designs among rows that share their seeds."""
    settings = {row.variant: flat(results.settings(row.signatures[0])) for row in rows}
    alone = {_rest(mine): variant for variant, mine in settings.items() if "auxiliaries" in mine and not mine["auxiliaries"]}
    found: dict[tuple[Any, ...], dict[frozenset[str], str]] = {}
    about = {}
    for variant, mine in settings.items():
        if mine.get("auxiliaries") and _rest(mine) in alone:
            key = (_rest(mine), *(mine[name] for name in sorted(mine) if name.split(".")[0] in {"schedule", "mixture", "supervision"}))
            found.setdefault(key, {frozenset(): alone[_rest(mine)]})[frozenset(mine["auxiliaries"])] = variant
            about[key] = mine
    complete = [key for key, subsets in found.items() if len(subsets) == 2 ** len(frozenset().union(*subsets)) > 2]
    names = [name for name in SHOWN if name == "schedule" or len({str(about[key].get(name)) for key in complete}) > 1]
    for key in complete:
        yield Design(", ".join(f"{SHOWN[name]} {about[key].get(name)}" for name in names), found[key])


def _rest(settings: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """What rows of one design have in common."""
    return tuple((name, str(value)) for name, value in sorted(settings.items()) if not FREE & set(name.split(".")))
