"""Which figures a results folder has, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from analysis import corpus_plots, run_plots, score_plots
from analysis.ablation import difference_table
from analysis.drawing import Paint, drawn
from analysis.folder import Results
from analysis.missing import missing_table
from analysis.units import task_rows


def figures(results: Results) -> dict[str, bytes]:
    """File name -> PNG and SVG of each figure that the folder has data for."""
    images: dict[str, bytes] = {}
    for name, paint in _paints(results):
        images |= drawn(name, paint, results.stand_ins)
    return images


def _paints(results: Results) -> Iterator[tuple[str, Paint]]:
    for task in results.plan.tasks:
        found = any(row.units for row in task_rows(results, task))
        kinds: tuple[tuple[str, Callable[..., None], bool], ...] = (
            ("scores", score_plots.scores, True),
            ("differences", score_plots.differences, difference_table(results, task).height > 0),
            ("missing", score_plots.missing, missing_table(results, task).height > 0),
            ("per_class", score_plots.per_class, found),
            ("confusions", score_plots.confusions, found),
            ("learning", run_plots.learning_curves, bool(run_plots.curves(results, task))),
            ("ranks", run_plots.ranks, bool(run_plots.rank_cells(results, task))),
            ("cost", score_plots.cost_against_score, score_plots.has_costs(results)),
        )
        yield from ((f"{task}_{name}", partial(paint, results=results, task=task)) for name, paint, wanted in kinds if wanted)
    whole = (
        ("search", run_plots.search, bool(run_plots.scored_trials(results))),
        ("corpus_topics", corpus_plots.topics, corpus_plots.has_topics(results)),
        ("corpus_labels", corpus_plots.labels, not results.clips.is_empty()),
    )
    yield from ((name, partial(paint, results=results)) for name, paint, wanted in whole if wanted)
