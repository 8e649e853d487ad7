"""The picture of benchmarks.sweep_cost: what each arm costs, and what one lever less would cost, as multiples of ours."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from analysis.drawing import BLUE, GREY, HALO, drawn, gridded, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"A": "naive, trial by trial", "B": "tuned, trial by trial", "C": "ours"}
STAND_IN = "generated clips, the tiny Thinker; ratios of a sweep of {runs} runs on {limit} clips"


def figure(found: dict[str, Any]) -> dict[str, bytes]:
    """File name -> PNG and SVG."""
    arms = {name: sorted(cost["process_sec"] for cost in found["costs"][arm]) for arm, name in NAMES.items()}
    ours = median(arms[NAMES["C"]])
    operations = {name: found["counts"][arm]["operations"] / found["counts"]["C"]["operations"] for arm, name in NAMES.items()}
    levers = {name: sorted(entry["sec"]) for name, entry in found["levers"].items() if not name.startswith("ours")}
    alone = median(found["levers"]["ours"]["sec"])

    def paint(figure: Figure) -> None:
        figure.set_size_inches(7.2, 3.2)
        title(figure, "The cost of the same sweep, to ours = 1")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1))
        _bars(left, list(arms), [[value / ours for value in values] for values in arms.values()], "process seconds (operations: x)")
        left.plot(list(operations.values()), range(len(operations)), "x", color=GREY, zorder=4)
        _bars(
            right,
            [f"ours, but {name}" for name in levers],
            [[value / alone for value in values] for values in levers.values()],
            "process seconds",
        )

    return drawn("sweep_cost", paint, [STAND_IN.format(**found)])


def _bars(axes: Axes, names: Sequence[str], values: Sequence[Sequence[float]], label: str) -> None:
    """A bar of each name's median with its range."""
    for y, line in enumerate(values):
        axes.barh(y, median(line), color=BLUE, height=0.6, zorder=2)
        axes.hlines(y, line[0], line[-1], color=GREY, linewidth=1.5, zorder=3)
        axes.text(line[-1], y, f" {median(line):.2f}", va="center", ha="left", fontsize=8, bbox=HALO, zorder=5)
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(max(line) for line in values))
    axes.set_xlabel(label)
    gridded(axes, "x")
