"""Records -> tables, statistics, figures, report. Needs no torch, no ray and no GPU; a results folder is all it reads.

from analysis import load
results = load("results/ablations/mini-tiny")
results.runs, results.predictions, results.clips, results.ledger     # polars frames
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.folder import Results

__all__ = ["load", "terminal_tables", "write_all", "write_search", "write_tables"]


# The packages behind these are imported when they are called: `import analysis` and `--help` are instant.
def load(folder: str | Path) -> Results:
    """Read a results folder into polars frames. Raises ResultsError with the missing or invalid file, column or value."""
    from analysis import folder as room

    return room.load(folder)


def write_all(folder: str | Path) -> list[Path]:
    """Rebuild `tables/`, `costs/`, `figures/` and `report.html` from the records; returns the files, report last."""
    from analysis import rebuild

    return rebuild.write_all(folder)


def write_tables(folder: str | Path) -> list[Path]:
    """Rebuild `tables/` and `costs/` alone from the records; returns the files."""
    from analysis import rebuild

    return rebuild.write_tables(folder)


def terminal_tables(folder: str | Path) -> str:
    """The score tables and the per-class tables as plain text for a terminal, with their notes."""
    from analysis import sweep_tables

    return sweep_tables.terminal_tables(folder)


def write_search(folder: str | Path) -> list[Path]:
    """Rebuild `tables/search.md` and `.csv`, the trials of a search; they need no finished run."""
    from analysis import search_table

    return search_table.write_search(folder)
