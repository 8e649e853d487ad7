"""Each kind of table as printed: headings, cells, and what its headings mean."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.ablation import ENDS
from analysis.intervals import MEASURES, PRIMARY
from analysis.render import Grid, bounds, compact, decimal, finished_of, mean_count, probability, with_spread
from analysis.statistics import LEVEL_TEXT
from analysis.swap_test import MASKS
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.metrics import MAIN, METRICS

HEADINGS = (
    "",
    *(text for heading in MEASURES.values() for text in (heading, f"{LEVEL_TEXT} models", f"{LEVEL_TEXT} recipe")),
    *(metric.heading for metric in METRICS if metric.name not in MEASURES),
    "steps",
    "main items",
    "unparsed",
    "recoverable",
    "n",
)
DIFFERENCE_HEADINGS = (
    "row",
    "minus",
    MEASURES[PRIMARY],
    f"{LEVEL_TEXT} models",
    "p models",
    f"{LEVEL_TEXT} recipe",
    "p recipe",
    MEASURES["accuracy"],
    f"{LEVEL_TEXT} models",
    "macro F1",
    "p alone",
    "fixed",
    "regressed",
    "pairs",
)
DIFFERENCE_NOTE = (
    "Differences are on the same clips and seeds; p-values are of the first score. *: registered before the runs; p models is then corrected by step-down max-T over "
    f"{MASKS} swaps of whole source videos, p recipe by Holm, both over all registered contrasts of all tasks. Without *: exploratory, p for this comparison alone. "
    "p alone: swap test of macro F1 over all classes, for this comparison alone. "
    "fixed: clips that the row has right and the other wrong; regressed: the other way round. pairs: seeds compared."
)
LENGTH_NOTE = "steps: optimizer steps of a run. main items: items of the main task that they are made of, repeats included."
RECOVERABLE_NOTE = "recoverable: unparsed answers from which a lenient reading gets a label (macro F1 with them); they count as wrong in every other column."
POLARITY_HEADINGS = (
    "",
    *(text for heading in MEASURES.values() for text in (heading, f"{LEVEL_TEXT} models")),
    "consistent",
    *(f"direct {heading}" for heading in MEASURES.values()),
    "n",
)
POLARITY_NOTE = (
    "The polarity that an emotion answer states, scored as sentiment on the clips with a gold sentiment. consistent: share of parsed emotion "
    "answers whose emotion fits the stated polarity. direct: the sentiment run of the same variant. –: no polarity is asked for, or no result."
)
MISSING_HEADINGS = ("", "shown", "missing", *HEADINGS[1:-1], "evaluations")
MISSING_NOTE = (
    "Evaluations of trained models that are shown a part of each clip. missing: the chance of each modality of each clip, by hash, so the same "
    "clips for every model, and the missing ones of a rate are missing at every higher rate; a clip keeps at least one. "
    "Scores are means over draws and seeds."
)
GROUNDING_HEADINGS = ("", "text", LEVEL_TEXT, "video", LEVEL_TEXT, "audio", LEVEL_TEXT, "n")
GROUNDING_NOTE = (
    "Accuracy of the answers to the auxiliary instructions, each from its own modality alone and against that modality's label: keywords in the "
    "text, the face in the video, prosody in the audio. Zero-shot rows are the base before training. An answer without a label counts as wrong."
)
TRANSFER_HEADINGS = ("", "answered on", MEASURES[PRIMARY], f"{LEVEL_TEXT} models", "accuracy", "macro F1", "n")
TRANSFER_NOTE = "The same trained models on the reported part of each corpus, in its label space. The majority class is that of each corpus's own training part."


def score_grid(table: pl.DataFrame, task: str) -> Grid:
    """A score table as printed; ± is the standard deviation over seeds."""
    rows = tuple(_score_cells(row) for row in table.iter_rows(named=True))
    return compact(Grid(f"{task.capitalize()}: scores", HEADINGS, rows, (LENGTH_NOTE, RECOVERABLE_NOTE)))


def _score_cells(row: dict[str, Any]) -> tuple[str, ...]:
    cells = []
    for measure in MEASURES:
        cells += [with_spread(row[measure], row[f"{measure}_std"]), *_bounds_of(row, measure)]
    cells += [with_spread(row[metric.name], row[f"{metric.name}_std"]) for metric in METRICS if metric.name not in MEASURES]
    length = ("", "") if row["planned"] is None else (mean_count(row["steps"]), mean_count(row["main_items"]))
    return (row["variant"], *cells, *length, mean_count(row["unparsed"]), _recoverable(row), finished_of(row["n"], row["planned"]))


def _recoverable(row: dict[str, Any]) -> str:
    """A number of answers, and macro F1 with them if there are any: 3 (.512)."""
    score = f" ({decimal(row[f'recoverable_{MAIN}'])})" if row["recoverable"] else ""
    return mean_count(row["recoverable"]) + score


def grounding_grid(table: pl.DataFrame, task: str) -> Grid:
    """The answers to the auxiliary instructions as printed."""
    rows = []
    for row in table.iter_rows(named=True):
        cells = (
            text for name in ("text", "video", "audio") for text in (decimal(row[name]), bounds(row[f"{name}_low"], row[f"{name}_high"]))
        )
        rows.append((row["variant"], *cells, str(row["n"] or "")))
    return Grid(f"{task.capitalize()} runs: accuracy from one modality alone", GROUNDING_HEADINGS, tuple(rows), (GROUNDING_NOTE,))


def transfer_grid(table: pl.DataFrame, task: str) -> Grid:
    """Scores on several corpora as printed."""
    rows = [
        (
            row["variant"],
            row["evaluated_on"],
            decimal(row[PRIMARY]),
            bounds(row[f"{PRIMARY}_low"], row[f"{PRIMARY}_high"]),
            decimal(row["accuracy"]),
            decimal(row[MAIN]),
            str(row["n"] or ""),
        )
        for row in table.iter_rows(named=True)
    ]
    return Grid(
        f"{task.capitalize()}: trained on {table['trained_on'][0]}, answered on several corpora",
        TRANSFER_HEADINGS,
        tuple(rows),
        (TRANSFER_NOTE,),
    )


def missing_grid(table: pl.DataFrame, task: str) -> Grid:
    """A missing-modality table as printed."""
    rows = []
    for row in table.iter_rows(named=True):
        variant, *cells, _ = _score_cells(row)
        rows.append((variant, row["shown"], f"{row['missing_rate']:.0%}", *cells, str(row["n"])))
    return compact(
        Grid(
            f"{task.capitalize()}: modalities missing at evaluation",
            MISSING_HEADINGS,
            tuple(rows),
            (MISSING_NOTE, LENGTH_NOTE, RECOVERABLE_NOTE),
        )
    )


def per_class_grid(table: pl.DataFrame, task: str) -> Grid:
    """Per-class F1 as printed: a row per variant, a column per class, above them the numbers of clips and source videos."""
    labels = LABELS[task]
    by_cell = {(row["variant"], row["label"]): row for row in table.iter_rows(named=True)}
    variants = tuple(dict.fromkeys(table["variant"]))
    first = variants[0]
    support = ("clips", *(str(by_cell[first, label]["support"]) for label in labels), "")
    videos = ("source videos", *(str(by_cell[first, label]["source_videos"]) for label in labels), "")
    rows = []
    for variant in variants:
        cells = [by_cell[variant, label] for label in labels]
        f1 = (with_spread(cell["f1"], cell["f1_std"]) for cell in cells)
        rows.append((variant, *f1, finished_of(cells[0]["n"], cells[0]["planned"])))
    return Grid(f"{task.capitalize()}: F1 per class", ("", *labels, "n"), (support, videos, *rows))


def difference_grid(table: pl.DataFrame, task: str) -> Grid:
    """A difference table as printed; every number is one row minus another, on the same clips and seeds."""
    rows = []
    for row in table.iter_rows(named=True):
        models, recipe = _bounds_of(row, PRIMARY, sign=True)
        rows.append(
            (
                row["variant"] + (" *" if row["registered"] else ""),
                row["reference"],
                decimal(row[PRIMARY], sign=True),
                models,
                probability(row["p_models"]),
                recipe,
                probability(row["p_recipe"]),
                decimal(row["accuracy"], sign=True),
                _bounds_of(row, "accuracy", sign=True)[0],
                decimal(row[MAIN], sign=True),
                probability(row[f"p_{MAIN}"]),
                mean_count(row["fixed"]),
                mean_count(row["regressed"]),
                str(row["pairs"]),
            )
        )
    return compact(Grid(f"{task.capitalize()}: differences", DIFFERENCE_HEADINGS, tuple(rows), (DIFFERENCE_NOTE,)))


def polarity_grid(table: pl.DataFrame) -> Grid:
    """The table of emotion answers scored as sentiment, as printed."""
    rows = []
    for row in table.iter_rows(named=True):
        direct = (decimal(row[f"direct_{measure}"]) for measure in MEASURES)
        rows.append((row["variant"], *_with_intervals(row), decimal(row["consistent"]), *direct, finished_of(row["n"], row["planned"])))
    return Grid("Emotion answers scored as sentiment", POLARITY_HEADINGS, tuple(rows), (POLARITY_NOTE,))


def _with_intervals(row: dict[str, Any]) -> list[str]:
    """The scores that have intervals, each with that for these models."""
    values = ((with_spread(row[name], row[f"{name}_std"]), bounds(row[f"{name}_low"], row[f"{name}_high"])) for name in MEASURES)
    return [text for pair in values for text in pair]


def _bounds_of(row: dict[str, Any], measure: str, sign: bool = False) -> tuple[str, str]:
    """The intervals for these models and for the recipe."""
    ends = [row[f"{measure}{end}"] for end in ENDS]
    return bounds(ends[0], ends[1], sign), bounds(ends[2], ends[3], sign)
