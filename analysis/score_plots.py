"""Figures of scores: rows with intervals, differences, classes, confusions, missing modalities, cost against score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from analysis.ablation import difference_table, score_table
from analysis.costs import costs_table
from analysis.drawing import BLUE, FAINT, GREY, INK, LINES, ORANGE, dot, gridded, heat, margin, plain, title, wrapped
from analysis.folder import Results
from analysis.grids import is_significant
from analysis.intervals import MEASURES, PRIMARY, supported_classes, task_intervals
from analysis.missing import missing_table
from analysis.per_class import per_class_table
from analysis.render import decimal
from analysis.statistics import LEVEL_TEXT
from analysis.units import Row, task_rows
from omnimer_ray.corpora.clips import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 0.7  # between the reference rows and the runs
WIDE = 3  # panels side by side
MARKS = "osD^v"  # the next one where colours begin again


def scores(figure: Figure, results: Results, task: str) -> None:
    """The scores that have intervals side by side: the mean, its interval, single seeds; reference rows apart, the majority class as a line."""
    table, rows = score_table(results, task), task_rows(results, task)
    many = any(len(row.units) > 1 for row in rows)
    apart = sum(row.planned is None for row in rows)
    places = [y if y < apart else y + GAP for y in range(len(rows))]
    for metric, axes in _panels(figure, results, task, table, places).items():
        for y, cells, row in zip(places, table.iter_rows(named=True), rows, strict=True):
            dot(axes, y, cells, metric, GREY if row.planned is None else BLUE)
            if len(row.units) > 1:
                seeds = task_intervals(results, task).values(row.variant, metric)
                axes.plot(seeds, [y + 0.24] * len(seeds), "o", markerfacecolor="none", markeredgecolor=ORANGE, markersize=3, zorder=3)
        if table[metric][0] is not None:
            axes.axvline(table[metric][0], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.axhline(apart - 0.5 + GAP / 2, color=FAINT, linewidth=1)
        axes.set_xlim(-0.05, 1.05)  # keeps a number at 0 or 1 off its panel's edge
    seeds_too = "; rings: seeds" if many else ""
    title(figure, f"{task.capitalize()}: score and {LEVEL_TEXT} interval over source videos (dashed: majority class{seeds_too})")


def differences(figure: Figure, results: Results, task: str) -> None:
    """Each contrast, paired by clip, with the interval for these models; blue only where a registered contrast is significant after correction."""
    table = difference_table(results, task).with_columns(pl.concat_str("variant", pl.lit(" − "), "reference").alias("variant"))
    for metric, axes in _panels(figure, results, task, table, list(range(table.height))).items():
        for y, cells in enumerate(table.iter_rows(named=True)):
            dot(axes, y, cells, metric, BLUE if metric == PRIMARY and is_significant(cells) else GREY, sign=True)
        axes.axvline(0, color=INK, linewidth=1, zorder=1)
    title(figure, f"{task.capitalize()}: differences, {LEVEL_TEXT} intervals for these models (blue: significant after correction)")


def missing(figure: Figure, results: Results, task: str) -> None:
    """The first score against the rate of missing modalities, and with whole modalities missing; a line and a colour of each model."""
    table, measure = missing_table(results, task), _measures(results, task)[0]
    figure.set_size_inches(9.5, 3.6)
    rates, subsets = figure.subplots(1, 2, sharey=True)
    parts = [shown for shown in dict.fromkeys(table["shown"]) if shown != "everything"]
    for number, variant in enumerate(dict.fromkeys(table["variant"])):
        color, mine = LINES[number % len(LINES)], table.filter(pl.col("variant") == variant)
        line = mine.filter(pl.col("shown") == "everything").sort("missing_rate")
        rates.plot(line["missing_rate"], line[measure], "o-", color=color, markersize=4, label=plain(variant))
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
        gridded(axes, "y")
    title(figure, f"{task.capitalize()}: modalities missing at evaluation, with {LEVEL_TEXT} intervals over source videos")


def per_class(figure: Figure, results: Results, task: str) -> None:
    """F1 of every variant, a panel per class with its clips and source videos; an interval where a class has enough of them, grey bars where not."""
    table, supported = per_class_table(results, task), supported_classes(results, task)
    variants = list(dict.fromkeys(table["variant"]))
    wide = min(WIDE, len(LABELS[task]))
    tall = -(-len(LABELS[task]) // wide)
    lines = max(wrapped(name).count("\n") + 1 for name in variants)
    figure.set_size_inches(margin(variants) + 2.3 * wide, 0.5 + tall * (0.5 + (0.08 + 0.12 * lines) * len(variants)))
    panels = list(figure.subplots(tall, wide, squeeze=False, sharex=True, sharey=True).flat)
    for axes, label in zip(panels, LABELS[task], strict=False):
        cells = table.filter(pl.col("label") == label).rows(named=True)
        for y, cell in enumerate(cells):
            run = cell["planned"] is not None and label in supported
            axes.barh(y, cell["f1"] or 0, color=BLUE if run else GREY, height=0.62, alpha=1 if label in supported else 0.55)
            if cell["f1_low"] is not None:
                axes.hlines(y, cell["f1_low"], cell["f1_high"], color=INK, linewidth=1)
            axes.text(1.02, y, decimal(cell["f1"]), va="center", fontsize=7)
        axes.set_title(f"{label}: {cells[0]['support']} clips, {cells[0]['source_videos']} videos", loc="left")
        axes.set_yticks(range(len(variants)), list(map(wrapped, variants)), parse_math=False, fontsize=8)
        axes.set_xlim(0, 1.2)
        axes.set_xticks([0, 0.5, 1])
        gridded(axes, "x")
    for axes in panels[len(LABELS[task]) :]:
        axes.set_visible(False)
    panels[0].set_ylim(len(variants) - 0.4, -0.6)
    title(figure, f"{task.capitalize()}: F1 per class, {LEVEL_TEXT} intervals for these models (grey: too few source videos)")


def confusions(figure: Figure, results: Results, task: str) -> None:
    """Per variant, the numbers of answers to each gold class, as means over seeds; the colour is their share of the class."""
    rows = [row for row in task_rows(results, task) if row.units and row.planned is not None] or [
        row for row in task_rows(results, task) if row.units and row.units[0].predicted
    ]
    answers = [*LABELS[task], "unparsed"]
    wide = min(WIDE, len(rows))
    tall = -(-len(rows) // wide)
    cell = 0.34 if len(answers) > 4 else 0.5
    figure.set_size_inches(wide * (1.0 + cell * len(answers)), 0.6 + tall * (0.95 + cell * len(LABELS[task])))
    panels = list(figure.subplots(tall, wide, squeeze=False, sharey=True).flat)
    for axes, row in zip(panels, rows, strict=False):
        counts = _counts(row, LABELS[task])
        shares = [[count / sum(line) if sum(line) else None for count in line] for line in counts]
        texts = [[f"{count:.0f}" if count == round(count) else f"{count:.1f}" for count in line] for line in counts]
        heat(axes, shares, [["" if text == "0" else text for text in line] for line in texts], 6 if len(answers) > 4 else 7)
        axes.set_title(wrapped(row.variant), loc="left", parse_math=False)
        axes.set_xticks(range(len(answers)), answers, rotation=45, ha="right", rotation_mode="anchor", fontsize=7)
        axes.set_yticks(range(len(LABELS[task])), LABELS[task], fontsize=7)
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    title(figure, f"{task.capitalize()}: answers (columns) to each gold class (rows), in clips")


WIDE = 30  # of the dearest row to the cheapest: beyond it costs are on a logarithmic scale


def cost_against_score(figure: Figure, results: Results, task: str) -> None:
    """The first score against the minutes of workers that a row took."""
    from matplotlib.ticker import LogLocator, NullFormatter

    table, measure = score_table(results, task), _measures(results, task)[0]
    costs = {row["variant"]: row["sec"] for row in costs_table(results).iter_rows(named=True)}
    figure.set_size_inches(7, 4)
    axes, minutes = figure.subplots(), list[float]()
    for number, cells in enumerate(row for row in table.iter_rows(named=True) if costs.get(row["variant"]) and row[measure] is not None):
        x, color = costs[cells["variant"]] / 60, LINES[number % len(LINES)]
        minutes.append(x)
        if cells[f"{measure}_low"] is not None:
            axes.vlines(x, cells[f"{measure}_low"], cells[f"{measure}_high"], color=color, linewidth=2)
        axes.plot(x, cells[measure], MARKS[number // len(LINES) % len(MARKS)], color=color, label=plain(wrapped(cells["variant"])))
    if minutes and max(minutes) > WIDE * min(minutes):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel("minutes of workers, all seeds and both tasks; shared stages count in every row")
    axes.set_ylabel(MEASURES[measure])
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    gridded(axes, "y")
    title(figure, f"{task.capitalize()}: cost and score")


def has_costs(results: Results) -> bool:
    """Whether the time of any row is known."""
    return costs_table(results)["sec"].is_not_null().any()


def _panels(figure: Figure, results: Results, task: str, table: pl.DataFrame, places: list[float] | list[int]) -> dict[str, Axes]:
    """A panel per score that has intervals, with the variants from top to bottom."""
    shown = _measures(results, task)
    figure.set_size_inches(margin(table["variant"].to_list()) + 3 * len(shown), 1.1 + 0.36 * (places[-1] + 1))
    figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr, call-arg]  # the panels' end ticks would touch
    panels = dict(zip(shown, figure.subplots(1, len(shown), sharey=True, squeeze=False)[0], strict=True))
    for measure, axes in panels.items():
        axes.set_title(MEASURES[measure], loc="left")
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.set_yticks(places, list(map(wrapped, table["variant"])), parse_math=False)
        gridded(axes, "x")
    return panels


def _measures(results: Results, task: str) -> list[str]:
    """The scores that have intervals: supported macro F1 needs a class on enough source videos."""
    return [measure for measure in MEASURES if measure != PRIMARY or supported_classes(results, task)]


def _counts(row: Row, labels: tuple[str, ...]) -> list[list[float]]:
    """(L, L + 1): answers to each gold class, the unparsed last, as means over units."""
    answers = [(gold, answer) for unit in row.units for gold, answer in zip(unit.gold, unit.predicted, strict=True)]
    return [[answers.count((gold, answer)) / len(row.units) for answer in (*labels, None)] for gold in labels]
