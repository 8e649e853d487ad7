"""Tables as printed: cells, Markdown, CSV and terminal text; the last of the three steps load, reduce, render.

The same predictions give the same bytes: fixed formats, no times, no paths of this machine.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import polars as pl

from analysis.folder import Results
from analysis.units import scored_clips
from omnimer_ray.markdown import code, escaped, table

GAP = "–"  # a missing run


class Grid(NamedTuple):
    """A table as printed: a title, a heading per column (the first column is text), and cells as text."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    explanations: tuple[str, ...] = ()  # of its headings, printed below


def probability(value: float | None) -> str:
    """A p-value with three decimals."""
    return GAP if value is None else "<.001" if value < 0.001 else decimal(value)


def decimal(value: float | None, sign: bool = False) -> str:
    """Three decimals without the leading zero, as papers print them: .582, 1.000, −.012 and, with `sign`, +.031."""
    if value is None:
        return GAP
    text = f"{abs(value):.3f}".removeprefix("0")
    return ("−" if value < 0 and text != ".000" else "+" if sign else "") + text


def with_spread(value: float | None, std: float | None) -> str:
    """A mean, and ± its standard deviation over seeds if there are two or more."""
    return decimal(value) if std is None else f"{decimal(value)} ± {decimal(std)}"


def bounds(low: float | None, high: float | None, sign: bool = False) -> str:
    """An interval: [.431, .612]."""
    return GAP if low is None or high is None else f"[{decimal(low, sign)}, {decimal(high, sign)}]"


def mean_count(value: float | None) -> str:
    """A count, or its mean over seeds with one decimal if it is not whole."""
    return GAP if value is None else f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def finished_of(n: int, planned: int | None) -> str:
    """Numbers of finished and planned seeds: 3, or 2/3; empty for rows that are not runs."""
    return "" if planned is None else str(n) if n == planned else f"{n}/{planned}"


def compact(grid: Grid) -> Grid:
    """The table without the columns about the recipe if no row has anything to say about it."""
    kept = [
        place
        for place, heading in enumerate(grid.headings)
        if "recipe" not in heading or any(row[place] not in (GAP, "") for row in grid.rows)
    ]
    rows = tuple(tuple(row[place] for place in kept) for row in grid.rows)
    return grid._replace(headings=tuple(grid.headings[place] for place in kept), rows=rows)


def marked(grid: Grid, stand_ins: Collection[str]) -> Grid:
    """The table with a title that names stand-ins, so that it is seen wherever the table is shown."""
    return grid._replace(title=grid.title + " (stand-in numbers)") if stand_ins else grid


def markdown(grid: Grid, notes: Sequence[str], signatures: Sequence[str], command: str) -> str:
    """A Markdown page: title, table, notes, signatures and command."""
    rows = [(escaped(first), *rest) for first, *rest in grid.rows]  # the other cells are numbers or fixed words
    tail = [f"- {escaped(line)}" for line in (*notes, "Signatures: " + "; ".join(signatures) + ".")]
    return "\n".join([f"# {grid.title}", "", table(grid.headings, rows, numbers=True), "", *tail, f"- Command: {code(command)}", ""])


def terminal(grid: Grid) -> str:
    """The table as aligned plain text."""
    widths = [max(len(row[column]) for row in (grid.headings, *grid.rows)) for column in range(len(grid.headings))]
    lines = [_aligned(row, widths) for row in (grid.headings, *grid.rows)]
    return "\n".join([grid.title, lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def csv(results: Results, table: pl.DataFrame, task: str) -> str:
    """The table's columns with six decimals, and its provenance in every row; a missing value is empty."""
    plan, scored = results.plan, scored_clips(results, task)
    about = {
        "clips": scored.height,
        "scored_videos": scored["source_video"].n_unique(),
        "excluded_clips": len(plan.corpus.excluded),
        "corpus": f"{plan.corpus.name} {plan.corpus.fingerprint}",
        "base": f"{plan.base.name} {plan.base.revision}",
        "stand_in": "; ".join(results.stand_ins),
        "command": plan.command,
    }
    flat = table.with_columns(
        *([pl.col("signatures").list.join(" ")] if "signatures" in table.columns else []),
        *(pl.lit(value).alias(name) for name, value in about.items()),
    )
    return flat.write_csv(float_precision=6)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()
