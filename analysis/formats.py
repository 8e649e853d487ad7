"""The one model of a table as Markdown, LaTeX, HTML, CSV and text for a terminal.

The same predictions give the same bytes: fixed formats, no times, no paths of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import polars as pl

from analysis.folder import Results
from analysis.render import Emphasis, Grid
from analysis.units import scored_clips
from omnimer_ray.markdown import code, escaped, table

REBUILD = "python -m analysis tables FOLDER"
MARKDOWN: dict[Emphasis, tuple[str, str]] = {"best": ("**", "**"), "second": ("<ins>", "</ins>"), "faint": ("", "")}
HTML: dict[Emphasis, tuple[str, str]] = {
    "best": ("<strong>", "</strong>"),
    "second": ("<u>", "</u>"),
    "faint": ('<span class="soft">', "</span>"),
}
LATEX: dict[Emphasis, tuple[str, str]] = {"best": (r"\textbf{", "}"), "second": (r"\underline{", "}"), "faint": (r"\textcolor{gray}{", "}")}
LATEX_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "×": r"$\times$",
    "–": "--",
    "·": r"$\cdot$",
    "<": "$<$",
    ">": "$>$",
}


def pages(name: str, grid: Grid, notes: Sequence[str], signatures: Sequence[str], command: str) -> dict[str, str]:
    """File name -> text: a table for reading, for a paper and for a page."""
    every = [*notes, *grid.explanations]
    made_by = f"Runs: {command}; this table: {REBUILD}."
    return {
        f"{name}.md": markdown(grid, every, signatures, command),
        f"{name}.tex": latex(grid, [*every, made_by], name),
        f"{name}.html": html_page(grid, [*every, made_by]),
    }


def markdown(grid: Grid, notes: Sequence[str], signatures: Sequence[str], command: str) -> str:
    """A Markdown page: title, table, notes, signatures and command."""
    rows = [(escaped(first), *rest) for first, *rest in _emphasised(grid, MARKDOWN, str)]  # the other cells are numbers or fixed words
    tail = [f"- {escaped(line)}" for line in (*notes, *_signed(signatures))]
    return "\n".join(
        [
            f"# {grid.title}",
            "",
            table(grid.headings, rows, numbers=True),
            "",
            *tail,
            f"- Runs: {code(command)}; this table: {code(REBUILD)}",
            "",
        ]
    )


def latex(grid: Grid, notes: Sequence[str], label: str) -> str:
    """A LaTeX table; needs the packages booktabs, graphicx and xcolor."""
    rows = [" & ".join(cells) + r" \\" for cells in _emphasised(grid, LATEX, _latex)]
    heads = " & ".join(map(_latex, grid.headings)) + r" \\"
    columns = "l" + "r" * (len(grid.headings) - 1)
    return "\n".join(
        [
            r"% \usepackage{booktabs,graphicx,xcolor}",
            r"\begin{table*}",
            rf"\caption{{{_latex(grid.title)}}}\label{{tab:{label}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            heads,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\\[2pt]\parbox{\textwidth}{\scriptsize " + " ".join(map(_latex, notes)) + "}",
            r"\end{table*}",
            "",
        ]
    )


def html(grid: Grid) -> str:
    """The table as an HTML element."""
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in grid.headings)
    rows = ("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for cells in _emphasised(grid, HTML, escape))
    return "\n".join(["<table>", f"<thead><tr>{heads}</tr></thead>", "<tbody>", *rows, "</tbody></table>"])


def html_page(grid: Grid, notes: Sequence[str]) -> str:
    """The table with its notes as a page of its own."""
    style = "table{border-collapse:collapse}th,td{padding:.3em .7em;text-align:right}th:first-child,td:first-child{text-align:left}.soft{color:#767676}"
    tail = "".join(f"<li>{escape(line)}</li>" for line in notes)
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(grid.title)}</title><style>{style}</style></head>'
    return f"{head}\n<body><h1>{escape(grid.title)}</h1>\n{html(grid)}\n<ul>{tail}</ul></body></html>\n"


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


def _signed(signatures: Sequence[str]) -> list[str]:
    return ["Signatures: " + "; ".join(signatures) + "."] if signatures else []


def _emphasised(grid: Grid, signs: dict[Emphasis, tuple[str, str]], write: Callable[[str], str]) -> list[list[str]]:
    """The cells as written in a format, with what stands before and behind those that are emphasised."""
    rows = []
    for y, row in enumerate(grid.rows):
        around = [signs[grid.emphasis[y, x]] if (y, x) in grid.emphasis else ("", "") for x in range(len(row))]
        rows.append([before + write(cell) + behind for cell, (before, behind) in zip(row, around, strict=True)])
    return rows


def _latex(text: str) -> str:
    return "".join(
        LATEX_SIGNS.get(sign, "{}-" if sign == last == "-" else sign) for last, sign in zip(" " + text, text, strict=False)
    )  # "--" stays two
