"""Figures of a results folder, drawn without a display; the same predictions give the same bytes.

Colours are Okabe and Ito's, and one blue from light to dark: both are distinguishable with any colour vision and in grey print.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from analysis.ablation import difference_table, score_table
from analysis.folder import Results
from analysis.intervals import MEASURES, PRIMARY, supported_classes, task_intervals
from analysis.missing import missing_table
from analysis.per_class import per_class_table
from analysis.render import decimal
from analysis.statistics import LEVEL, LEVEL_TEXT
from analysis.units import Row, task_rows
from omnimer_ray.corpora.clips import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK, FAINT = "#0072B2", "#D55E00", "#8a8a8a", "#222222", "#e6e6e6"
LINES = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)  # one of each model, again from the first after the last
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
HALO = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # keeps a number readable on a line


def figures(results: Results) -> dict[str, bytes]:
    """File name -> PNG: for each task the scores with their intervals, the differences from Base, F1 per class, and confusions."""
    images = {}
    for task in results.plan.tasks:
        images[f"{task}_scores.png"] = _draw(_scores, results, task)
        if difference_table(results, task).height:
            images[f"{task}_differences.png"] = _draw(_differences, results, task)
        if missing_table(results, task).height:
            images[f"{task}_missing.png"] = _draw(_missing, results, task)
        images[f"{task}_per_class.png"] = _draw(_per_class, results, task)
        if any(row.units for row in task_rows(results, task)):
            images[f"{task}_confusions.png"] = _draw(_confusions, results, task)
    return images


def _draw(paint: Callable[[Figure, Results, str], None], results: Results, task: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):  # the user's matplotlibrc does not apply
        figure = Figure(layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
        paint(figure, results, task)
        if results.stand_ins:
            figure.supxlabel("Stand-in: " + "; ".join(results.stand_ins), fontsize=7, color=ORANGE, parse_math=False, wrap=True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize=10, fontweight="bold", x=0.01, ha="left")


def _scores(figure: Figure, results: Results, task: str) -> None:
    """The metrics that have intervals side by side: the mean, its interval, single seeds, and the majority class as a line."""
    table, rows = score_table(results, task), task_rows(results, task)
    many = any(len(row.units) > 1 for row in rows)
    for metric, axes in _panels(figure, results, task, table).items():
        for y, (cells, row) in enumerate(zip(table.iter_rows(named=True), rows, strict=True)):
            _dot(axes, y, cells, metric, GREY if row.planned is None else BLUE)
            if len(row.units) > 1:
                seeds = task_intervals(results, task).values(row.variant, metric)
                axes.plot(seeds, [y + 0.24] * len(seeds), "o", markerfacecolor="none", markeredgecolor=ORANGE, markersize=3, zorder=3)
        if table[metric][0] is not None:
            axes.axvline(table[metric][0], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.set_xlim(-0.05, 1.05)  # keeps a number at 0 or 1 off its panel's edge
    seeds_too = "; rings: seeds" if many else ""
    _title(figure, f"{task.capitalize()}: score and {LEVEL_TEXT} interval over source videos (dashed: majority class{seeds_too})")


def _differences(figure: Figure, results: Results, task: str) -> None:
    """Each contrast, paired by clip, with the interval for these models; full colour only where a registered contrast is significant."""
    table = difference_table(results, task).with_columns(pl.concat_str("variant", pl.lit(" − "), "reference").alias("variant"))
    for metric, axes in _panels(figure, results, task, table).items():
        for y, cells in enumerate(table.iter_rows(named=True)):
            found = metric == PRIMARY and cells["registered"] and (cells["p_models"] or 1) <= 1 - LEVEL
            _dot(axes, y, cells, metric, BLUE if found else GREY, sign=True)
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
    _title(figure, f"{task.capitalize()}: differences, {LEVEL_TEXT} intervals for these models (blue: significant after correction)")


def _missing(figure: Figure, results: Results, task: str) -> None:
    """The first score against the rate of missing modalities, and with whole modalities missing; a line and a colour of each model."""
    table, measure = missing_table(results, task), _measures(results, task)[0]
    figure.set_size_inches(9.5, 3.6)
    rates, subsets = figure.subplots(1, 2, sharey=True)
    parts = [shown for shown in dict.fromkeys(table["shown"]) if shown != "everything"]
    for number, variant in enumerate(dict.fromkeys(table["variant"])):
        color, mine = LINES[number % len(LINES)], table.filter(pl.col("variant") == variant)
        line = mine.filter(pl.col("shown") == "everything").sort("missing_rate")
        rates.plot(line["missing_rate"], line[measure], "o-", color=color, markersize=4, label=variant.replace("$", r"\$"))
        rates.fill_between(line["missing_rate"], line[f"{measure}_low"], line[f"{measure}_high"], color=color, alpha=0.12, linewidth=0)
        shift = 0.16 * (number - (table["variant"].n_unique() - 1) / 2)
        for cells in mine.filter(pl.col("shown") != "everything").iter_rows(named=True):
            x = parts.index(cells["shown"]) + shift
            subsets.vlines(x, cells[f"{measure}_low"], cells[f"{measure}_high"], color=color, linewidth=2)
            subsets.plot(x, cells[measure], "o", color=color, markersize=5)
    rates.set_xlabel("chance that a modality of a clip is missing")
    rates.set_ylabel(MEASURES[measure])
    rates.legend(fontsize=7, frameon=False)
    subsets.set_xticks(range(len(parts)), [part.replace(" + ", "\n+ ") for part in parts], fontsize=8)
    subsets.set_xlabel("modalities that are shown")
    for axes in (rates, subsets):
        axes.set_ylim(-0.02, 1.02)
        axes.grid(axis="y", color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
    _title(figure, f"{task.capitalize()}: modalities missing at evaluation, with {LEVEL_TEXT} intervals over source videos")


def _panels(figure: Figure, results: Results, task: str, table: pl.DataFrame) -> dict[str, Axes]:
    """A panel per score that has intervals, with the variants from top to bottom."""
    shown = _measures(results, task)
    figure.set_size_inches(1.2 + 3.6 * len(shown), 1.1 + 0.36 * table.height)
    figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]  # the panels' end ticks would touch
    panels = dict(zip(shown, figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], strict=True))
    for measure, axes in panels.items():
        axes.set_title(MEASURES[measure], loc="left")
        axes.set_ylim(table.height - 0.4, -0.6)
        axes.set_yticks(range(table.height), table["variant"].to_list(), parse_math=False)
        axes.grid(axis="x", color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
    return panels


def _measures(results: Results, task: str) -> list[str]:
    """The scores that have intervals: supported macro F1 needs a class on enough source videos."""
    return [measure for measure in MEASURES if measure != PRIMARY or supported_classes(results, task)]


def _dot(axes: Axes, y: int, cells: dict[str, Any], metric: str, color: str, sign: bool = False) -> None:
    value = cells[metric]
    if value is None:
        axes.text(
            0.02, y, "no result", va="center", color=GREY, style="italic", fontsize=8, bbox=HALO, transform=axes.get_yaxis_transform()
        )
        return
    if cells[f"{metric}_low"] is not None:
        axes.hlines(y, cells[f"{metric}_low"], cells[f"{metric}_high"], color=color, linewidth=2, zorder=3)
    axes.plot(value, y, "o", color=color, markersize=6, zorder=4)
    axes.text(value, y - 0.2, decimal(value, sign), ha="center", va="bottom", fontsize=7, bbox=HALO, zorder=2)


def _heat(axes: Axes, values: Sequence[Sequence[float | None]], fontsize: float, write: Callable[[float | None], str]) -> None:
    """Numbers between 0 and 1 as a blue grid with each number written in it; None is an empty cell."""
    drawn = [[float("nan") if value is None else value for value in line] for line in values]
    axes.imshow(drawn, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            axes.text(
                x,
                y,
                write(value),
                ha="center",
                va="center",
                fontsize=fontsize,
                color="white" if value is not None and value > 0.75 else INK,
            )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _per_class(figure: Figure, results: Results, task: str) -> None:
    """F1 of every variant and class; the columns have the numbers of clips and videos."""
    table = per_class_table(results, task)
    labels, variants = LABELS[task], list(dict.fromkeys(table["variant"]))
    by_cell = {(row["variant"], row["label"]): row for row in table.iter_rows(named=True)}
    figure.set_size_inches(2.2 + 0.9 * len(labels), 1.2 + 0.32 * len(variants))
    axes = figure.subplots()
    _heat(axes, [[by_cell[variant, label]["f1"] for label in labels] for variant in variants], 8, decimal)
    heads = [by_cell[variants[0], label] for label in labels]
    axes.set_xticks(
        range(len(labels)), [f"{head['label']}\n{head['support']} clips\n{head['source_videos']} videos" for head in heads], fontsize=8
    )
    axes.set_yticks(range(len(variants)), variants, parse_math=False)
    axes.xaxis.tick_top()
    _title(figure, f"{task.capitalize()}: F1 per class")


def _confusions(figure: Figure, results: Results, task: str) -> None:
    """Per variant, the shares of the answers to each gold class, over all seeds."""
    rows = [row for row in task_rows(results, task) if row.units and row.planned is not None] or [
        row for row in task_rows(results, task) if row.units
    ]
    answers = [*LABELS[task], "unparsed"]
    wide = min(3, len(rows))
    tall = -(-len(rows) // wide)
    cell = 0.3 if len(answers) > 4 else 0.42
    figure.set_size_inches(wide * (1.0 + cell * len(answers)), 0.6 + tall * (0.95 + cell * len(LABELS[task])))
    panels = list(figure.subplots(tall, wide, squeeze=False, sharey=True).flat)
    for axes, row in zip(panels, rows, strict=False):
        _heat(axes, _shares(row, LABELS[task]), 6 if len(answers) > 4 else 7, _percent)
        axes.set_title(row.variant, loc="left", parse_math=False)
        axes.set_xticks(range(len(answers)), answers, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(range(len(LABELS[task])), LABELS[task], fontsize=7)
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    _title(figure, f"{task.capitalize()}: answers (columns) to each gold class (rows), in % of the class")


def _percent(share: float | None) -> str:
    return f"{share:.0%}".removesuffix("%") if share else ""


def _shares(row: Row, labels: Sequence[str]) -> list[list[float | None]]:
    answers = [(gold, answer) for unit in row.units for gold, answer in zip(unit.gold, unit.predicted, strict=True)]
    totals = {label: sum(gold == label for gold, _ in answers) for label in labels}
    return [[answers.count((gold, answer)) / totals[gold] if totals[gold] else None for answer in (*labels, None)] for gold in labels]
