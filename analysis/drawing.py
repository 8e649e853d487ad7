"""How figures are drawn: style, panels, marks; each as PNG for documents and as SVG for pages, which follows a dark page.

Colours are Okabe and Ito's, and one blue from light to dark: both are distinguishable with any colour vision and in grey print. No display is
needed, and the same records give the same bytes.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

from analysis.render import decimal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK, FAINT, PAPER = "#0072b2", "#d55e00", "#8a8a8a", "#222222", "#e6e6e6", "#ffffff"
LINES = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)  # one of each model, again from the first after the last
DARK = {INK: "#e4e4e0", GREY: "#9a9fa5", FAINT: "#34373b", PAPER: "#1f2124", BLUE: "#3d8be0", ORANGE: "#ff9d6b"}  # on a dark page
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
    "svg.hashsalt": "omnimer_ray",  # the same ids in every run
}
NAME = 36  # characters of a row's name in a line
HALO = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}  # keeps a number readable on a line

Paint = Callable[["Figure"], None]


def drawn(name: str, paint: Paint, stand_ins: Collection[str]) -> dict[str, bytes]:
    """File name -> PNG and SVG of what `paint` draws; stand-ins are named below it."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE}):  # the user's matplotlibrc does not apply
        figure = Figure(layout="constrained", dpi=150)
        FigureCanvasAgg(figure)
        paint(figure)
        if stand_ins:
            figure.supxlabel("Stand-in: " + "; ".join(stand_ins), fontsize=7, color=ORANGE, parse_math=False, wrap=True)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return {f"{name}.png": png.getvalue(), f"{name}.svg": _with_dark_colours(svg.getvalue().decode()).encode()}


def _with_dark_colours(svg: str) -> str:
    """The same picture with other colours on a page that is dark."""
    rules = [f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}' for light, dark in DARK.items() for kind in ("fill", "stroke")]
    style = f"<style>@media (prefers-color-scheme: dark){{{''.join(rules)}}}</style>"
    return re.sub(r"(<svg [^>]*>)", lambda found: found[1] + style, svg, count=1)


def title(figure: Figure, text: str) -> None:
    """The figure's own title, at the left."""
    figure.suptitle(text, fontsize=10, fontweight="bold", x=0.01, ha="left")


def plain(text: str) -> str:
    """Text in which no formula is looked for."""
    return text.replace("$", r"\$")


def wrapped(name: str) -> str:
    """A row's name in lines that leave room for a panel."""
    return "\n".join(textwrap.wrap(name, NAME)) or name


def margin(names: Sequence[str]) -> float:
    """Inches beside the panels for the names of rows."""
    return 0.4 + 0.075 * max(len(line) for name in names for line in wrapped(name).splitlines())


def gridded(axes: Axes, direction: Literal["x", "y"]) -> None:
    """Faint lines behind the data."""
    axes.grid(axis=direction, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def dot(axes: Axes, y: float, cells: dict[str, Any], metric: str, color: str, sign: bool = False) -> None:
    """A score with its interval for these models and its number; or that there is none."""
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


def heat(axes: Axes, values: Sequence[Sequence[float | None]], texts: Sequence[Sequence[str]], fontsize: float, top: float = 1.0) -> None:
    """A blue grid of values between 0 and `top` with a text in each cell; None is an empty cell."""
    shown = [[float("nan") if value is None else value for value in line] for line in values]
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=1.15 * top, aspect="auto")
    for y, (line, words) in enumerate(zip(values, texts, strict=True)):
        for x, (value, word) in enumerate(zip(line, words, strict=True)):
            color = PAPER if value is not None and value > 0.75 * top else "#222221"  # stays dark on a dark page: cells are light
            axes.text(x, y, word, ha="center", va="center", fontsize=fontsize, color="#fffffe" if color == PAPER else color)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
