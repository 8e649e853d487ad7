"""Figures of a results folder, drawn without a display; the same predictions give the same bytes.

Colours are those of Okabe and Ito, and cividis: both can be told apart with any colour vision and in print.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from analysis.ablation import MAJORITY, score_table, task_rows
from analysis.folder import Results
from analysis.per_class import per_class_table
from analysis.render import decimal
from omnimer_ray.corpora.clips import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK, FAINT = "#0072B2", "#D55E00", "#8a8a8a", "#222222", "#e6e6e6"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "text.color": INK,
}
TITLES = {"macro_f1": "macro F1", "accuracy": "accuracy"}


def figures(results: Results) -> dict[str, bytes]:
    """File name -> PNG: of each task the scores with their intervals, and the per-class F1."""
    images = {}
    for task in results.plan.tasks:
        images[f"{task}_scores.png"] = _draw(_scores, results, task)
        images[f"{task}_per_class.png"] = _draw(_per_class, results, task)
    return images


def _draw(paint: Any, results: Results, task: str) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):  # a person's own matplotlibrc has no say
        figure = Figure(layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
        paint(figure, results, task)
        if results.stand_ins:
            figure.supxlabel("Stand-in: " + "; ".join(results.stand_ins), fontsize=7, color=ORANGE)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _scores(figure: Figure, results: Results, task: str) -> None:
    """Macro F1 and accuracy side by side: the mean, its interval, single seeds, and the majority class as a line."""
    table = score_table(results, task).reverse()
    rows = list(reversed(task_rows(results, task)))
    figure.set_size_inches(8.4, 1.3 + 0.34 * table.height)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, metric in ((left, "macro_f1"), (right, "accuracy")):
        for y, cells in enumerate(table.iter_rows(named=True)):
            _dot(axes, y, cells, metric, [getattr(unit.scores(task), metric) for unit in rows[y].units])
        majority = table.filter(table["variant"] == MAJORITY)[metric][0]
        if majority is not None:
            axes.axvline(majority, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.set(title=TITLES[metric], xlim=(0, 1), ylim=(-0.6, table.height - 0.4))
        axes.grid(axis="x", color=FAINT, linewidth=0.8)
        axes.tick_params(length=0)
    left.set_yticks(range(table.height), table["variant"].to_list())
    figure.suptitle(f"{task.capitalize()}: mean, 95 % interval over source videos", fontsize=10, fontweight="bold")


def _dot(axes: Axes, y: int, cells: dict[str, Any], metric: str, seeds: list[float]) -> None:
    if cells[metric] is None:
        axes.text(0.02, y, "not run", va="center", color=GREY, style="italic", fontsize=8)
        return
    color = GREY if cells["variant"] == MAJORITY else BLUE
    axes.hlines(y, cells[f"{metric}_low"], cells[f"{metric}_high"], color=color, linewidth=2, zorder=2)
    axes.plot(cells[metric], y, "o", color=color, markersize=6, zorder=4)
    if len(seeds) > 1:
        axes.plot(seeds, [y - 0.22] * len(seeds), "o", markerfacecolor="none", markeredgecolor=ORANGE, markersize=3, zorder=3)
    axes.text(cells[metric], y + 0.18, decimal(cells[metric]), ha="center", va="bottom", fontsize=7, color=INK)


def _per_class(figure: Figure, results: Results, task: str) -> None:
    """F1 of every variant and class as a heat map, with the numbers; columns say how many clips and videos they stand on."""
    table = per_class_table(results, task)
    labels, variants = LABELS[task], list(dict.fromkeys(table["variant"]))
    by_cell = {(row["variant"], row["label"]): row for row in table.iter_rows(named=True)}
    figure.set_size_inches(2.6 + 0.85 * len(labels), 1.5 + 0.32 * len(variants))
    axes = figure.subplots()
    values = [[by_cell[variant, label]["f1"] for label in labels] for variant in variants]
    drawn = [[float("nan") if value is None else value for value in line] for line in values]
    image = axes.imshow(drawn, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            axes.text(x, y, decimal(value), ha="center", va="center", fontsize=8, color=INK if value is None or value > 0.5 else "white")
    heads = [by_cell[variants[0], label] for label in labels]
    ticks = [f"{head['label']}\n{head['support']} clips\n{head['source_videos']} videos" for head in heads]
    axes.set_xticks(range(len(labels)), ticks, fontsize=8)
    axes.set_yticks(range(len(variants)), variants)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02).outline.set_visible(False)
    figure.suptitle(f"{task.capitalize()}: F1 per class", fontsize=10, fontweight="bold")
