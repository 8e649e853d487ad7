"""The tables of a sweep: for each task the scores, scores per class and differences from Base; and emotion answers as sentiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from analysis.ablation import difference_table, score_table
from analysis.audit import printed_macro_f1
from analysis.best_of import best_of_table
from analysis.claims import claims_grid
from analysis.costs import costs_table
from analysis.effects import effects_table
from analysis.emotion_as_sentiment import polarity_table
from analysis.flips import flips_table
from analysis.folder import Results, load
from analysis.formats import csv, pages, terminal
from analysis.grids import (
    best_of_grid,
    conflict_grid,
    costs_grid,
    difference_grid,
    effects_grid,
    grounding_grid,
    influence_grid,
    missing_grid,
    per_class_grid,
    polarity_grid,
    score_grid,
    topic_grid,
    transfer_grid,
    yield_grid,
)
from analysis.grounding import grounding_table
from analysis.influence import influence_table
from analysis.missing import missing_table
from analysis.notes import notes, signature_lines
from analysis.per_class import per_class_table
from analysis.render import Grid, marked
from analysis.settings import settings_grid
from analysis.slices import conflicts, slice_table, topics
from analysis.transfer import answered, transfer_table

Named = tuple[str, pl.DataFrame, Grid]  # a file's name without its ending, the frame, and how it is printed


def tables(results: Results) -> dict[str, str]:
    """File name -> text: every table of every task, for reading (Markdown, HTML), for a paper (LaTeX) and for reckoning (CSV)."""
    files: dict[str, str] = {}
    for task in results.plan.tasks:
        for view in (results, *answered(results, task)):
            about, signatures = notes(view, task), signature_lines(view, task)
            for name, table, grid in task_tables(view, task) if view is results else other_tables(results, view, task):
                files |= pages(name, grid, about, signatures, results.plan.command)
                files[f"{name}.csv"] = csv(view, table, task)
        if not (flipped := flips_table(results, task)).is_empty():
            files[f"{task}_flips.csv"] = csv(results, flipped, task)
    for name, single in (
        ("claims", claims_grid(results)),
        ("supervision", yield_grid(results.ledger)),
        ("settings", settings_grid(results)),
    ):
        if single is not None:
            about = [f"STAND-IN: {notice}" for notice in results.stand_ins]
            files |= pages(name, marked(single, results.stand_ins), about, [], results.plan.command)
    return files


def cost_pages(results: Results) -> dict[str, str]:
    """File name -> text: what the runs cost on the machines that they ran on, which is no score."""
    costs = costs_table(results)
    about = [f"STAND-IN: {notice}" for notice in results.stand_ins]
    return {
        **pages("costs", marked(costs_grid(costs), results.stand_ins), about, [], results.plan.command),
        "costs.csv": costs.write_csv(float_precision=2),
    }


def other_tables(results: Results, view: Results, task: str) -> list[Named]:
    """A task's tables of the same runs on another corpus."""
    where, name = f" on {view.plan.corpus.name}, trained on {results.plan.corpus.name}", f"{task}_on_{view.plan.corpus.name}"
    scores, per_class = score_table(view, task), per_class_table(view, task)
    found = [(name, scores, score_grid(scores, task)), (f"{name}_per_class", per_class, per_class_grid(per_class, task))]
    return [(file, table, marked(grid._replace(title=grid.title + where), results.stand_ins)) for file, table, grid in found]


def task_tables(results: Results, task: str) -> list[Named]:
    """A task's tables as (file name, frame, printed grid): scores, per class; what else there is."""
    scores, per_class, differences = score_table(results, task), per_class_table(results, task), difference_table(results, task)
    printed = printed_macro_f1(results.plan.corpus.name, task)
    found: list[Named] = [
        (task, scores, score_grid(scores, task, differences, printed)),
        (f"{task}_per_class", per_class, per_class_grid(per_class, task)),
    ]
    kinds: tuple[tuple[str, pl.DataFrame, Callable[[pl.DataFrame, str], Grid]], ...] = (
        ("differences", differences, difference_grid),
        ("influence", influence_table(results, task), influence_grid),
        ("effects", effects_table(results, task), effects_grid),
        ("best_of", best_of_table(results, task), best_of_grid),
        ("conflicts", slice_table(results, task, conflicts(results, task)), conflict_grid),
        ("topics", slice_table(results, task, topics(results, task)), topic_grid),
        ("missing", missing_table(results, task), missing_grid),
        ("grounding", grounding_table(results, task), grounding_grid),
        ("transfer", transfer_table(results, task), transfer_grid),
    )
    found += [(f"{task}_{kind}", frame, printed_as(frame, task)) for kind, frame, printed_as in kinds if not frame.is_empty()]
    if task == "emotion":
        found.append(("emotion_as_sentiment", polarity := polarity_table(results), polarity_grid(polarity)))
    return [(name, table, marked(grid, results.stand_ins)) for name, table, grid in found]


def terminal_tables(folder: str | Path) -> str:
    """The score tables and the per-class tables as plain text for a terminal, with their notes."""
    results = load(folder)
    grids = [grid for task in results.plan.tasks for _, _, grid in task_tables(results, task)[:2]]
    explained = [line for grid in grids for line in grid.explanations]
    lines = dict.fromkeys([*explained, *(line for task in results.plan.tasks for line in notes(results, task))])
    return "\n\n".join([*map(terminal, grids), "\n".join(lines)])
