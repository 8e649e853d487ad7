"""Tables -> Markdown, CSV and terminal text; the last of the three steps load, reduce, render.

The same predictions give the same bytes: fixed formats, no times, no paths of this machine. What a table rests on stands
under it: clips and source videos, exclusions, stand-ins, signatures, missing runs and the command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.folder import DONE, Results
from omnimer_ray.corpora.clips import LABELS

if TYPE_CHECKING:
    import polars as pl

GAP = "–"  # a missing run
HEADINGS = ("", "accuracy", "95 %", "macro F1", "95 %", "weighted F1", "unparsed", "n")


class Grid(NamedTuple):
    """A table as printed: a title, a heading per column (the first column is text), and cells as text."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def score_grid(table: pl.DataFrame, task: str) -> Grid:
    """A score table as printed; ± is the standard deviation over seeds."""
    return Grid(f"{task.capitalize()}: scores on validation", HEADINGS, tuple(_score_cells(row) for row in table.iter_rows(named=True)))


def _score_cells(row: dict[str, Any]) -> tuple[str, ...]:
    scores = [
        with_spread(row["accuracy"], row["accuracy_std"]),
        bounds(row["accuracy_low"], row["accuracy_high"]),
        with_spread(row["macro_f1"], row["macro_f1_std"]),
        bounds(row["macro_f1_low"], row["macro_f1_high"]),
        with_spread(row["weighted_f1"], row["weighted_f1_std"]),
    ]
    return (row["variant"], *scores, mean_count(row["unparsed"]), stood(row["n"], row["planned"]))


def per_class_grid(table: pl.DataFrame, task: str) -> Grid:
    """Per-class F1 as printed: a row per variant, a column per class, above them what the classes stand on."""
    labels = LABELS[task]
    by_cell = {(row["variant"], row["label"]): row for row in table.iter_rows(named=True)}
    variants = tuple(dict.fromkeys(table["variant"]))
    first = variants[0]
    support = ("clips", *(str(by_cell[first, label]["support"]) for label in labels), "")
    videos = ("source videos", *(str(by_cell[first, label]["source_videos"]) for label in labels), "")
    rows = []
    for variant in variants:
        cells = [by_cell[variant, label] for label in labels]
        f1 = (with_spread(cell["f1"], cell["f1_std"]) for cell in cells)
        rows.append((variant, *f1, stood(cells[0]["n"], cells[0]["planned"])))
    return Grid(f"{task.capitalize()}: F1 per class on validation", ("", *labels, "n"), (support, videos, *rows))


def decimal(value: float | None, sign: bool = False) -> str:
    """Three decimals without the leading zero, as papers print them: .582, 1.000, −.012 and, with `sign`, +.031."""
    if value is None:
        return GAP
    text = f"{abs(value):.3f}".removeprefix("0")
    return ("−" if value < 0 and text != ".000" else "+" if sign else "") + text


def with_spread(value: float | None, std: float | None) -> str:
    """A mean, and ± its standard deviation over seeds where there are two or more."""
    return decimal(value) if std is None else f"{decimal(value)} ± {decimal(std)}"


def bounds(low: float | None, high: float | None, sign: bool = False) -> str:
    """An interval: [.431, .612]."""
    return GAP if low is None or high is None else f"[{decimal(low, sign)}, {decimal(high, sign)}]"


def mean_count(value: float | None) -> str:
    """A count, or its mean over seeds with one decimal where it is not whole."""
    return GAP if value is None else f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def stood(n: int, planned: int | None) -> str:
    """How many of the planned seeds stand: 3, or 2/3; nothing for what is no run."""
    return "" if planned is None else str(n) if n == planned else f"{n}/{planned}"


def notes(results: Results, task: str) -> list[str]:
    """What the tables of a task rest on, one sentence each; stand-ins first."""
    plan, corpus = results.plan, results.plan.corpus
    clips, videos = scored_clips(results, task)
    lines = [f"STAND-IN: {notice}" for notice in results.stand_ins]
    protocol = f"{corpus.folds} folds by source video, pooled" if corpus.folds else "the validation split"
    limit = f", limited to {corpus.limit} clips" if corpus.limit else ""
    lines.append(
        f"Scored on {protocol}: {clips} clips of {videos} source videos. Corpus {corpus.name} ({corpus.fingerprint}){limit}; base {plan.base.name} ({plan.base.revision})."
    )
    excluded = f"{len(corpus.excluded)} ({', '.join(corpus.excluded)})" if corpus.excluded else "none"
    lines.append(f"Excluded clips: {excluded}.")
    lines.append(
        "95 %: percentile interval over 10,000 resamples of whole source videos, for these trained models. ±: standard deviation over seeds. n: seeds that stand. An unparsed answer counts as wrong."
    )
    lines += [f"Missing: {line}." for line in missing_runs(results, task)]
    return lines


def missing_runs(results: Results, task: str) -> list[str]:
    """The planned runs of a task that fill no cell, and why."""
    lines = []
    for run in results.runs.iter_rows(named=True):
        if run["task"] == task and run["outcome"] != DONE:
            at = "".join(f", {name} {run[name]}" for name in ("seed", "fold") if run[name] is not None)
            reason = f" ({run['reason']})" if run["reason"] else ""
            lines.append(f"{run['variant']}{at}: {run['outcome']}{reason}")
    return lines


def scored_clips(results: Results, task: str) -> tuple[int, int]:
    """How many clips, of how many source videos, the tables of a task are scored on."""
    import polars as pl

    splits = ["train", "validation"] if results.plan.corpus.folds else ["validation"]
    scored = results.clips.filter(pl.col(task).is_not_null() & pl.col("split").is_in(splits))
    return scored.height, scored["source_video"].n_unique()


def signature_lines(table: pl.DataFrame) -> list[str]:
    """Each variant's signatures."""
    pairs = dict(zip(table["variant"], table["signatures"].to_list(), strict=True))
    return [f"{variant}: {', '.join(signatures)}" for variant, signatures in pairs.items() if signatures]


def markdown(grid: Grid, notes: Sequence[str], signatures: Sequence[str], command: str) -> str:
    """A Markdown page: title, table, notes, signatures and command."""
    head = [_md_row(grid.headings), "|" + "|".join([" :-- ", *(" --: " for _ in grid.headings[1:])]) + "|"]
    body = [_md_row(row) for row in grid.rows]
    tail = [f"- {escape_md(line)}" for line in (*notes, "Signatures: " + "; ".join(signatures) + ".")]
    fence = "`" * (longest_run(command) + 1 if "`" in command else 1)
    return "\n".join([f"# {grid.title}", "", *head, *body, "", *tail, f"- Command: {fence}{_one_line(command)}{fence}", ""])


def terminal(grid: Grid) -> str:
    """The table as aligned plain text."""
    widths = [max(len(row[column]) for row in (grid.headings, *grid.rows)) for column in range(len(grid.headings))]
    lines = [_aligned(row, widths) for row in (grid.headings, *grid.rows)]
    return "\n".join([grid.title, lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def csv(results: Results, table: pl.DataFrame, task: str) -> str:
    """The table's columns with six decimals, and in every row what it rests on; a missing value is empty."""
    import polars as pl

    clips, videos = scored_clips(results, task)
    plan = results.plan
    about = {
        "clips": clips,
        "scored_videos": videos,
        "excluded_clips": len(plan.corpus.excluded),
        "corpus": f"{plan.corpus.name} {plan.corpus.fingerprint}",
        "base": f"{plan.base.name} {plan.base.revision}",
        "stand_in": "; ".join(results.stand_ins),
        "command": plan.command,
    }
    flat = table.with_columns(pl.col("signatures").list.join(" "), *(pl.lit(value).alias(name) for name, value in about.items()))
    return flat.write_csv(float_precision=6)


def escape_md(text: str) -> str:
    """Text that Markdown shows as it is, in one line and one table cell."""
    for sign in "\\|`*_<>[]":
        text = text.replace(sign, "\\" + sign)
    return _one_line(text)


def longest_run(text: str, sign: str = "`") -> int:
    """The longest run of `sign` in `text`."""
    return max((len(part) for part in "".join(c if c == sign else " " for c in text).split()), default=0)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join((escape_md(cells[0]), *cells[1:])) + " |"  # but for the first, cells hold numbers and our own words


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()
