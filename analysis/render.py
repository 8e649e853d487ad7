"""Tables -> Markdown, CSV and terminal text; the last of the three steps load, reduce, render.

The same predictions give the same bytes: fixed formats, no times, no paths of this machine. The notes are
under each table: clips and source videos, exclusions, stand-ins, signatures, missing runs and the command.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import polars as pl

from analysis.folder import CHANGES, DONE, Results
from analysis.planned import scored_splits
from analysis.statistics import LEVEL_TEXT, RESAMPLES
from analysis.units import task_rows
from omnimer_ray.corpora.clips import LABELS
from omnimer_ray.markdown import code, escaped, table
from omnimer_ray.metrics import MAIN, METRICS

GAP = "–"  # a missing run
COMPARED = tuple(metric for metric in METRICS if metric.has_interval)
HEADINGS = (
    "",
    *(text for metric in METRICS for text in (metric.heading, LEVEL_TEXT)[: 1 + metric.has_interval]),
    "steps",
    "main items",
    "unparsed",
    "recoverable",
    "n",
)
DIFFERENCE_HEADINGS = ("", *(text for metric in COMPARED for text in (metric.heading, LEVEL_TEXT)), "mended", "broken", "pairs")
DIFFERENCE_NOTE = (
    "Differences are on the same clips and resamples, one comparison at a time: not corrected for their number. "
    "mended: clips that Base has wrong and the row right; broken: the other way round. pairs: seeds compared."
)
LENGTH_NOTE = "steps: optimizer steps of a run. main items: items of the main task that they are made of, repeats included."
RECOVERABLE_NOTE = "recoverable: unparsed answers from which a lenient reading gets a label (macro F1 with them); they count as wrong in every other column."
POLARITY_HEADINGS = (
    "",
    *(text for metric in COMPARED for text in (metric.heading, LEVEL_TEXT)),
    "consistent",
    *(f"direct {metric.heading}" for metric in COMPARED),
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
TRANSFER_HEADINGS = ("", "answered on", "accuracy", next(metric.heading for metric in METRICS if metric.name == MAIN), LEVEL_TEXT, "n")
TRANSFER_NOTE = "The same trained models on the reported part of each corpus, in its label space. The majority class is that of each corpus's own training part."
EXPLANATIONS = {
    HEADINGS: (LENGTH_NOTE, RECOVERABLE_NOTE),
    DIFFERENCE_HEADINGS: (DIFFERENCE_NOTE,),
    POLARITY_HEADINGS: (POLARITY_NOTE,),
    GROUNDING_HEADINGS: (GROUNDING_NOTE,),
    TRANSFER_HEADINGS: (TRANSFER_NOTE,),
    MISSING_HEADINGS: (MISSING_NOTE, LENGTH_NOTE, RECOVERABLE_NOTE),
}  # of the headings of each kind of table
FEW_VIDEOS = 5  # source videos of a class; with fewer, one video has a large influence on macro F1


class Grid(NamedTuple):
    """A table as printed: a title, a heading per column (the first column is text), and cells as text."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def score_grid(table: pl.DataFrame, task: str) -> Grid:
    """A score table as printed; ± is the standard deviation over seeds."""
    return Grid(f"{task.capitalize()}: scores", HEADINGS, tuple(_score_cells(row) for row in table.iter_rows(named=True)))


def _score_cells(row: dict[str, Any]) -> tuple[str, ...]:
    cells = []
    for metric in METRICS:
        cells.append(with_spread(row[metric.name], row[f"{metric.name}_std"]))
        if metric.has_interval:
            cells.append(bounds(row[f"{metric.name}_low"], row[f"{metric.name}_high"]))
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
    return Grid(f"{task.capitalize()} runs: accuracy from one modality alone", GROUNDING_HEADINGS, tuple(rows))


def transfer_grid(table: pl.DataFrame, task: str) -> Grid:
    """Scores on several corpora as printed."""
    rows = [
        (
            row["variant"],
            row["evaluated_on"],
            decimal(row["accuracy"]),
            decimal(row[MAIN]),
            bounds(row[f"{MAIN}_low"], row[f"{MAIN}_high"]),
            str(row["n"] or ""),
        )
        for row in table.iter_rows(named=True)
    ]
    return Grid(f"{task.capitalize()}: trained on {table['trained_on'][0]}, answered on several corpora", TRANSFER_HEADINGS, tuple(rows))


def missing_grid(table: pl.DataFrame, task: str) -> Grid:
    """A missing-modality table as printed."""
    rows = []
    for row in table.iter_rows(named=True):
        variant, *cells, _ = _score_cells(row)
        rows.append((variant, row["shown"], f"{row['missing_rate']:.0%}", *cells, str(row["n"])))
    return Grid(f"{task.capitalize()}: modalities missing at evaluation", MISSING_HEADINGS, tuple(rows))


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
    """A difference table as printed; every number is the variant minus Base, on the same clips and seeds."""
    rows = []
    for row in table.iter_rows(named=True):
        scores = [text for metric in COMPARED for text in _signed(row, metric.name)]
        rows.append((row["variant"], *scores, mean_count(row["mended"]), mean_count(row["broken"]), str(row["pairs"])))
    return Grid(f"{task.capitalize()}: difference from Base", DIFFERENCE_HEADINGS, tuple(rows))


def polarity_grid(table: pl.DataFrame) -> Grid:
    """The table of emotion answers scored as sentiment, as printed."""
    rows = []
    for row in table.iter_rows(named=True):
        direct = (decimal(row[f"direct_{metric.name}"]) for metric in COMPARED)
        rows.append((row["variant"], *_with_intervals(row), decimal(row["consistent"]), *direct, finished_of(row["n"], row["planned"])))
    return Grid("Emotion answers scored as sentiment", POLARITY_HEADINGS, tuple(rows))


def _with_intervals(row: dict[str, Any]) -> list[str]:
    """The compared metrics, each with its interval."""
    names = [metric.name for metric in COMPARED]
    values = ((with_spread(row[name], row[f"{name}_std"]), bounds(row[f"{name}_low"], row[f"{name}_high"])) for name in names)
    return [text for pair in values for text in pair]


def _signed(row: dict[str, Any], metric: str) -> tuple[str, str]:
    return decimal(row[metric], sign=True), bounds(row[f"{metric}_low"], row[f"{metric}_high"], sign=True)


def decimal(value: float | None, sign: bool = False) -> str:
    """Three decimals without the leading zero, as papers print them: .582, 1.000, −.012 and, with `sign`, +.031."""
    if value is None:
        return GAP
    text = f"{abs(value):.3f}".removeprefix("0")
    return ("−" if value < 0 and text != ".000" else "+" if sign else "") + text


def with_spread(value: float | None, std: float | None) -> str:
    """A mean, and ± its standard deviation over seeds if there are two or more."""
    return decimal(value) if std is None else f"{decimal(value)} ± {decimal(std)}"


def bounds(low: float | None, high: float | None, sign: bool = False) -> str:
    """An interval: [.431, .612]."""
    return GAP if low is None or high is None else f"[{decimal(low, sign)}, {decimal(high, sign)}]"


def mean_count(value: float | None) -> str:
    """A count, or its mean over seeds with one decimal if it is not whole."""
    return GAP if value is None else f"{value:.0f}" if value == round(value) else f"{value:.1f}"


def finished_of(n: int, planned: int | None) -> str:
    """Numbers of finished and planned seeds: 3, or 2/3; empty for rows that are not runs."""
    return "" if planned is None else str(n) if n == planned else f"{n}/{planned}"


def notes(results: Results, task: str) -> list[str]:
    """Notes on the tables of a task, one sentence each; stand-ins first."""
    plan, corpus = results.plan, results.plan.corpus
    scored = scored_clips(results, task)
    lines = [f"STAND-IN: {notice}" for notice in results.stand_ins]
    protocol = f"{corpus.folds} folds by source video, pooled" if corpus.folds else f"the {corpus.reported} split"
    limit = f", limited to {corpus.limit} clips" if corpus.limit else ""
    lines.append(
        f"Scored on {protocol}: {scored.height} clips of {scored['source_video'].n_unique()} source videos. Corpus {corpus.name} ({corpus.fingerprint}){limit}; base {plan.base.name} ({plan.base.revision})."
    )
    excluded = f"{len(corpus.excluded)} ({', '.join(corpus.excluded)})" if corpus.excluded else "none"
    lines.append(f"Excluded clips: {excluded}.")
    lines.append(
        f"{LEVEL_TEXT}: percentile interval over {RESAMPLES:,} resamples of whole source videos, for these trained models. ±: standard deviation over seeds. n: finished seeds. An unparsed answer counts as wrong."
    )
    lines += (
        [
            f"Few videos of a class: {rare}. One of them can move macro F1 by up to 1/{len(LABELS[task])}, and its interval may be too narrow."
        ]
        if (rare := _rare(results, task))
        else []
    )
    lines += [f"{note[0].upper()}{note[1:]}." for note in corpus.notes]
    lines += [f"{variant}: {note}." for variant, note in plan.notes.items()]
    lines += [_probabilities(results, task), _checks(results, task)]
    return [line for line in lines if line] + [f"Missing: {line}." for line in missing_runs(results, task)]


def marked(grid: Grid, stand_ins: Collection[str]) -> Grid:
    """The table with a title that names stand-ins, so that it is seen wherever the table is shown."""
    return grid._replace(title=grid.title + " (stand-in numbers)") if stand_ins else grid


def explained(grid: Grid) -> list[str]:
    """Explanation of the headings of one kind of table."""
    return list(EXPLANATIONS.get(grid.headings, ()))


def _probabilities(results: Results, task: str) -> str:
    """How far the probabilities of a task's labels describe its answers; empty if no run has them."""
    scored = results.predictions.filter((pl.col("instruction") == task) & pl.col("probabilities").is_not_null())
    if scored.is_empty():
        return ""
    labels = pl.Series(LABELS[task])
    likeliest = pl.Series([labels[row.arg_max()] for row in scored["probabilities"]])
    parsed = scored["prediction"].is_not_null()
    other = (parsed & (likeliest != scored["prediction"])).sum()
    return (
        f"Probabilities of labels: over the closed set of answers, whose mass is {decimal(fmean(scored['closed_set_mass']))} on average. "
        f"In {other} of {parsed.sum()} parsed answers the greedy label is not the most probable one; "
        f"{scored['generated'].sum()} of {scored.height} answers are outside the closed set."
    )


def _checks(results: Results, task: str) -> str:
    """What finished runs have proved about themselves, with the variants that have not; empty if none has a record of it."""
    checked = results.runs.filter((pl.col("task") == task) & (pl.col("outcome") == DONE) & pl.any_horizontal(pl.col(CHANGES).is_not_null()))
    if checked.is_empty():
        return ""
    still = {
        f"{variant} does not depend on its {name.removesuffix('_change')}"
        for name in CHANGES
        for variant in checked.filter(pl.col(name) == 0)["variant"]
    }
    other = {f"{variant} was trained with other prompts" for variant in checked.filter(~pl.col("same_prompts"))["variant"]}
    faults = f"; but {'; '.join(sorted(still | other))}" if still | other else ""
    return (
        f"Checked on a clip of each of {checked.height} runs: logits change without the adapter, without the sound and without the pictures, "
        f"where there are any; prompts are those of the training{faults}."
    )


def _rare(results: Results, task: str) -> str:
    """Classes with few source videos, and their number."""
    clips = scored_clips(results, task)
    videos = {label: clips.filter(clips[task] == label)["source_video"].n_unique() for label in LABELS[task]}
    return ", ".join(f"{label} {count}" for label, count in videos.items() if count < FEW_VIDEOS)


def missing_runs(results: Results, task: str) -> list[str]:
    """The planned runs of a task without a result, with reasons; one line per variant and reason."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for run in results.runs.iter_rows(named=True):
        if run["task"] == task and run["outcome"] != DONE:
            at = " ".join(f"{name} {run[name]}" for name in ("seed", "fold") if run[name] is not None)
            grouped.setdefault((run["variant"], run["outcome"], run["reason"] or ""), []).append(at)
    return [
        f"{task}, {variant}{', ' * any(places)}{', '.join(places)}: {outcome}{f' ({reason})' if reason else ''}"
        for (variant, outcome, reason), places in grouped.items()
    ]


def scored_clips(results: Results, task: str) -> pl.DataFrame:
    """The clips that the tables of a task are scored on."""
    return results.clips.filter(pl.col(task).is_not_null() & pl.col("split").is_in(scored_splits(results.plan)))


def signature_lines(results: Results, task: str) -> list[str]:
    """Each variant's signatures, including those of missing runs."""
    return [f"{row.variant}: {', '.join(row.signatures)}" for row in task_rows(results, task) if row.signatures]


def markdown(grid: Grid, notes: Sequence[str], signatures: Sequence[str], command: str) -> str:
    """A Markdown page: title, table, notes, signatures and command."""
    rows = [(escaped(first), *rest) for first, *rest in grid.rows]  # the other cells are numbers or fixed words
    tail = [f"- {escaped(line)}" for line in (*notes, "Signatures: " + "; ".join(signatures) + ".")]
    return "\n".join([f"# {grid.title}", "", table(grid.headings, rows, numbers=True), "", *tail, f"- Command: {code(command)}", ""])


def terminal(grid: Grid) -> str:
    """The table as aligned plain text."""
    widths = [max(len(row[column]) for row in (grid.headings, *grid.rows)) for column in range(len(grid.headings))]
    lines = [_aligned(row, widths) for row in (grid.headings, *grid.rows)]
    return "\n".join([grid.title, lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def csv(results: Results, table: pl.DataFrame, task: str) -> str:
    """The table's columns with six decimals, and its provenance in every row; a missing value is empty."""
    plan, scored = results.plan, scored_clips(results, task)
    about = {
        "clips": scored.height,
        "scored_videos": scored["source_video"].n_unique(),
        "excluded_clips": len(plan.corpus.excluded),
        "corpus": f"{plan.corpus.name} {plan.corpus.fingerprint}",
        "base": f"{plan.base.name} {plan.base.revision}",
        "stand_in": "; ".join(results.stand_ins),
        "command": plan.command,
    }
    flat = table.with_columns(
        *([pl.col("signatures").list.join(" ")] if "signatures" in table.columns else []),
        *(pl.lit(value).alias(name) for name, value in about.items()),
    )
    return flat.write_csv(float_precision=6)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()
