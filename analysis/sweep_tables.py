"""Everything that a results folder's records can be turned into, and where it stands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.folder import Results, load

if TYPE_CHECKING:
    import polars as pl

    from analysis.render import Grid


def write_all(folder: str | Path) -> list[Path]:
    """Rebuild `tables/`, `figures/` and `report.html` from the records; returns the files, report last."""
    from analysis.figures import figures
    from analysis.report import report
    from analysis.search_table import search_pages
    from omnimer_ray.results import write_atomically

    results = load(folder)
    texts = {**tables(results), **search_pages(results.folder)}
    pages = {results.folder / "tables" / name: text for name, text in texts.items()}
    images = {results.folder / "figures" / name: image for name, image in figures(results).items()}
    pages[results.folder / "report.html"] = report(results, {path.name: image for path, image in images.items()})
    contents = {**images, **{path: text.encode() for path, text in pages.items()}}
    for path, content in contents.items():
        write_atomically(path, partial(Path.write_bytes, data=content))
    return list(contents)


def tables(results: Results) -> dict[str, str]:
    """File name -> text: every table of every task, as Markdown and CSV."""
    from analysis.render import csv, explained, markdown, notes, signature_lines

    files = {}
    for task in results.plan.tasks:
        about, signatures = notes(results, task), signature_lines(results, task)
        for name, table, grid in task_tables(results, task):
            files[f"{name}.md"] = markdown(grid, [*about, *explained(grid)], signatures, results.plan.command)
            files[f"{name}.csv"] = csv(results, table, task)
    return files


def task_tables(results: Results, task: str) -> list[tuple[str, pl.DataFrame, Grid]]:
    """A task's tables as (file name, frame, what is printed): scores, per class, and the differences where there is a Base."""
    from analysis.ablation import difference_table, score_table
    from analysis.per_class import per_class_table
    from analysis.render import difference_grid, marked, per_class_grid, score_grid

    scores, per_class, differences = score_table(results, task), per_class_table(results, task), difference_table(results, task)
    found = [(task, scores, score_grid(scores, task)), (f"{task}_per_class", per_class, per_class_grid(per_class, task))]
    if not differences.is_empty():
        found.append((f"{task}_differences", differences, difference_grid(differences, task)))
    return [(name, table, marked(grid, results.stand_ins)) for name, table, grid in found]


def terminal_tables(folder: str | Path) -> str:
    """The score tables and the per-class tables as plain text for a terminal, with what they rest on."""
    from analysis.render import notes, terminal

    results = load(folder)
    blocks = [terminal(grid) for task in results.plan.tasks for _, _, grid in task_tables(results, task)[:2]]
    lines = dict.fromkeys(line for task in results.plan.tasks for line in notes(results, task))
    return "\n\n".join([*blocks, "\n".join(lines)])
