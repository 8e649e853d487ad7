"""Tables as printed: the one model of a table, and how its cells are written; `formats` writes it as Markdown, LaTeX, HTML and text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

GAP = "–"  # a missing run
SIGNIFICANT = "†"  # behind a score whose registered difference is significant after correction
Emphasis = Literal["best", "second", "faint"]


class Grid(NamedTuple):
    """A table as printed: a title, a heading per column (the first column is text), and cells as text."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    explanations: tuple[str, ...] = ()  # of its headings, printed below
    emphasis: Mapping[tuple[int, int], Emphasis] = {}  # of cells, by row and column


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


def compact(grid: Grid, optional: Collection[str]) -> Grid:
    """The table without those `optional` columns, by parts of their headings, in which no row has anything to say."""
    kept = [
        place
        for place, heading in enumerate(grid.headings)
        if not any(part in heading for part in optional) or any(row[place] not in (GAP, "") for row in grid.rows)
    ]
    rows = tuple(tuple(row[place] for place in kept) for row in grid.rows)
    emphasis = {(row, kept.index(column)): found for (row, column), found in grid.emphasis.items() if column in kept}
    return grid._replace(headings=tuple(grid.headings[place] for place in kept), rows=rows, emphasis=emphasis)


def best_two(values: Sequence[float | None]) -> dict[int, Emphasis]:
    """The places of the highest and the second highest values, ties included; none if all are the same."""
    levels = sorted({round(value, 9) for value in values if value is not None}, reverse=True)
    if len(levels) < 2:
        return {}
    names: dict[float, Emphasis] = {levels[0]: "best", levels[1]: "second"}
    return {place: names[level] for place, value in enumerate(values) if value is not None and (level := round(value, 9)) in names}


def marked(grid: Grid, stand_ins: Collection[str]) -> Grid:
    """The table with a title that names stand-ins, so that it is seen wherever the table is shown."""
    return grid._replace(title=grid.title + " (stand-in numbers)") if stand_ins else grid
