"""Everything that a results folder's records can be turned into, and where it stands."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from analysis.folder import Results, load


def write_all(folder: str | Path) -> list[Path]:
    """Rebuild `tables/`, `figures/` and `report.html` from the records; returns the files, report last."""
    from analysis.figures import figures
    from analysis.report import report
    from omnimer_ray.results import write_atomically

    results = load(folder)
    pages = {results.folder / "tables" / name: text for name, text in tables(results).items()}
    images = {results.folder / "figures" / name: image for name, image in figures(results).items()}
    pages[results.folder / "report.html"] = report(results, {path.name: image for path, image in images.items()})
    contents = {**images, **{path: text.encode() for path, text in pages.items()}}
    for path, content in contents.items():
        write_atomically(path, partial(Path.write_bytes, data=content))
    return list(contents)


def tables(results: Results) -> dict[str, str]:
    """File name -> text: of each task the score table and the per-class table, as Markdown and CSV."""
    from analysis.ablation import score_table
    from analysis.per_class import per_class_table
    from analysis.render import csv, markdown, notes, per_class_grid, score_grid, signature_lines

    files = {}
    for task in results.plan.tasks:
        scores, per_class = score_table(results, task), per_class_table(results, task)
        about, command = notes(results, task), results.plan.command
        for name, table, grid in (
            (task, scores, score_grid(scores, task)),
            (f"{task}_per_class", per_class, per_class_grid(per_class, task)),
        ):
            files[f"{name}.md"] = markdown(grid, about, signature_lines(table), command)
            files[f"{name}.csv"] = csv(results, table, task)
    return files


def terminal_tables(folder: str | Path) -> str:
    """The score tables and the per-class tables as plain text for a terminal, with what they rest on."""
    from analysis.ablation import score_table
    from analysis.per_class import per_class_table
    from analysis.render import notes, per_class_grid, score_grid, terminal

    results = load(folder)
    blocks = []
    for task in results.plan.tasks:
        blocks.append(terminal(score_grid(score_table(results, task), task)))
        blocks.append(terminal(per_class_grid(per_class_table(results, task), task)))
    lines = dict.fromkeys(line for task in results.plan.tasks for line in notes(results, task))
    return "\n\n".join([*blocks, "\n".join(lines)])
