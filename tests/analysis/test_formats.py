"""One table in every format: nothing is lost between them, and LaTeX can be parsed."""

from pathlib import Path

import pytest
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker

from analysis import load
from analysis.formats import html, latex, markdown, pages, terminal
from analysis.render import Grid, best_two, compact
from analysis.sweep_tables import tables

GRID = Grid(
    "Scores of 50 % & more (a_b)",
    ("", "F1", "recipe"),
    (("Base", ".5 ± .1", "–"), ("<b> $x$ #1 {y} ~^\\", "−.25 †", "–")),
    emphasis={(0, 1): "best", (1, 1): "second", (1, 2): "faint"},
)


def environments(text: str) -> list[str]:
    nodes, _, _ = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    found, left = [], list(nodes)
    while left:
        node = left.pop()
        if isinstance(node, LatexEnvironmentNode):
            found.append(node.environmentname)
        left += [child for child in getattr(node, "nodelist", None) or () if child is not None]
    return found


def test_latex_is_parsed_and_has_every_cell(small: Path) -> None:
    text = latex(GRID, ["50 % of it --seeds"], "one")
    assert {"table*", "tabular"} <= {*environments(text), *(["tabular"] if r"\begin{tabular}{lrr}" in text else [])}
    assert r"Base & \textbf{.5 $\pm$ .1} & -- \\" in text
    assert (
        r"$<$b$>$ \$x\$ \#1 \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{} & \underline{$-$.25 $^\dagger$} & \textcolor{gray}{--} \\"
        in text
    )
    assert r"\caption{Scores of 50 \% \& more (a\_b)}\label{tab:one}" in text
    assert r"50 \% of it -{}-seeds" in text
    files = {name: page for name, page in tables(load(small)).items() if name.endswith(".tex")}
    assert len(files) > 3
    for name, page in files.items():
        assert "table*" in environments(page), name


def test_html_escapes_and_emphasises() -> None:
    text = html(GRID)
    assert "<td><strong>.5 ± .1</strong></td>" in text
    assert "<td>&lt;b&gt; $x$ #1 {y} ~^\\</td>" in text
    assert '<td><u>−.25 †</u></td><td><span class="soft">–</span></td>' in text


def test_markdown_and_the_terminal_hold_the_same_cells() -> None:
    assert "| Base | **.5 ± .1** | – |" in markdown(GRID, [], [], "run")
    assert "Signatures" not in markdown(GRID, [], [], "run")
    assert [line.split()[0] for line in terminal(GRID).splitlines()[3:]] == ["Base", "<b>"]


def test_pages_are_three_and_name_the_commands() -> None:
    made = pages("one", GRID._replace(explanations=("F1: a mean",)), ["a note"], ["s1"], "run it")
    assert list(made) == ["one.md", "one.tex", "one.html"]
    for text in made.values():
        assert "run it" in text
        assert "python -m analysis tables FOLDER" in text
        assert text.index("a note") < text.index("F1: a mean")


def test_empty_optional_columns_are_left_out_and_emphasis_moves_along() -> None:
    grid = Grid("t", ("", "recipe", "F1"), (("a", "–", ".1"), ("b", "", ".2")), emphasis={(1, 2): "best", (0, 1): "faint"})
    assert compact(grid, ("recipe",)) == Grid("t", ("", "F1"), (("a", ".1"), ("b", ".2")), emphasis={(1, 1): "best"})
    assert compact(grid, ()) == grid


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.1, None, 0.3, 0.2], {2: "best", 3: "second"}),
        ([0.3, 0.3, 0.2], {0: "best", 1: "best", 2: "second"}),
        ([0.3, 0.3, None], {}),
        ([], {}),
    ],
)
def test_the_best_two_values_with_ties(values: list[float | None], found: dict[int, str]) -> None:
    assert best_two(values) == found
