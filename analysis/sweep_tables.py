"""The tables of a sweep: for each task the scores, scores per class and differences from Base; and emotion answers as sentiment."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from analysis.ablation import difference_table, score_table
from analysis.emotion_as_sentiment import polarity_table
from analysis.folder import Results, load
from analysis.grids import (
    difference_grid,
    grounding_grid,
    missing_grid,
    per_class_grid,
    polarity_grid,
    score_grid,
    transfer_grid,
)
from analysis.grounding import grounding_table
from analysis.missing import missing_table
from analysis.notes import notes, signature_lines
from analysis.per_class import per_class_table
from analysis.render import Grid, csv, markdown, marked, terminal
from analysis.transfer import answered, transfer_table


def tables(results: Results) -> dict[str, str]:
    """File name -> text: every table of every task, as Markdown and CSV."""
    files = {}
    for task in results.plan.tasks:
        for view in (results, *answered(results, task)):
            about, signatures = notes(view, task), signature_lines(view, task)
            for name, table, grid in task_tables(view, task) if view is results else other_tables(results, view, task):
                files[f"{name}.md"] = markdown(grid, [*about, *grid.explanations], signatures, results.plan.command)
                files[f"{name}.csv"] = csv(view, table, task)
    return files


def other_tables(results: Results, view: Results, task: str) -> list[tuple[str, pl.DataFrame, Grid]]:
    """A task's tables of the same runs on another corpus."""
    where, name = f" on {view.plan.corpus.name}, trained on {results.plan.corpus.name}", f"{task}_on_{view.plan.corpus.name}"
    scores, per_class = score_table(view, task), per_class_table(view, task)
    found = [(name, scores, score_grid(scores, task)), (f"{name}_per_class", per_class, per_class_grid(per_class, task))]
    return [(file, table, marked(grid._replace(title=grid.title + where), results.stand_ins)) for file, table, grid in found]


def task_tables(results: Results, task: str) -> list[tuple[str, pl.DataFrame, Grid]]:
    """A task's tables as (file name, frame, printed grid): scores, per class; what else there is."""
    scores, per_class, differences = score_table(results, task), per_class_table(results, task), difference_table(results, task)
    found = [(task, scores, score_grid(scores, task)), (f"{task}_per_class", per_class, per_class_grid(per_class, task))]
    if not differences.is_empty():
        found.append((f"{task}_differences", differences, difference_grid(differences, task)))
    if not (missing := missing_table(results, task)).is_empty():
        found.append((f"{task}_missing", missing, missing_grid(missing, task)))
    if not (grounding := grounding_table(results, task)).is_empty():
        found.append((f"{task}_grounding", grounding, grounding_grid(grounding, task)))
    if not (transfer := transfer_table(results, task)).is_empty():
        found.append((f"{task}_transfer", transfer, transfer_grid(transfer, task)))
    if task == "emotion":
        found.append(("emotion_as_sentiment", polarity := polarity_table(results), polarity_grid(polarity)))
    return [(name, table, marked(grid, results.stand_ins)) for name, table, grid in found]


def terminal_tables(folder: str | Path) -> str:
    """The score tables and the per-class tables as plain text for a terminal, with their notes."""
    results = load(folder)
    blocks = [terminal(grid) for task in results.plan.tasks for _, _, grid in task_tables(results, task)[:2]]
    lines = dict.fromkeys(line for task in results.plan.tasks for line in notes(results, task))
    return "\n\n".join([*blocks, "\n".join(lines)])
