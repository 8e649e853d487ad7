"""Each kind of table as printed: headings, cells, and what its headings mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from analysis.ablation import ENDS
from analysis.intervals import MEASURES, MIN_VIDEOS, PRIMARY
from analysis.render import (
    GAP,
    SIGNIFICANT,
    Emphasis,
    Grid,
    best_two,
    bounds,
    compact,
    decimal,
    finished_of,
    mean_count,
    probability,
    with_spread,
)
from analysis.statistics import LEVEL, LEVEL_TEXT
from analysis.swap_test import MASKS
from analysis.units import ECE_BINS
from omnimer_ray.corpora.clips import LABELS, SENTIMENTS
from omnimer_ray.metrics import MAIN, METRICS

QUESTIONS = ("models", "recipe")
HEADINGS = (
    "",
    MEASURES[PRIMARY],
    f"{LEVEL_TEXT} models",
    f"{LEVEL_TEXT} recipe",
    "difference",
    "p models",
    "p recipe",
    *(metric.heading for metric in sorted(METRICS, key=lambda metric: metric.name != MAIN)),
    "ECE",
    "steps",
    "main items",
    "unparsed",
    "recoverable",
    "n",
    "paper: macro F1",
)
OPTIONAL = ("recipe", "difference", "p models", "ECE", "paper")  # columns that are left out where no row has them
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
SCORE_NOTE = (
    f"Bold: best, underlined: second, of the rows that are runs. {SIGNIFICANT}: better or worse than the reference with a corrected p (recipe where there is one, else models) of at most "
    f"{1 - LEVEL:.2f}, registered before the runs. difference: minus the reference row, with the {LEVEL_TEXT} interval for these models; p: as in the table of differences."
)
ECE_NOTE = f"ECE: expected calibration error of the labels' probabilities, {ECE_BINS} bins."
PAPER_NOTE = "paper: the number that OmniMER (arXiv 2512.19379) printed for this row; one seed, no interval."
FORMULAS = (
    "macro F1: mean F1 of all classes, 2 TP / (2 TP + FP + FN), 0 where a class is neither there nor answered. weighted F1: by clips. UAR: mean recall of the classes that occur. "
    "Of MMSA's conventions these classes give Acc-3 (accuracy of sentiment) and weighted F1; Acc-2, Acc-5, MAE and correlation need sentiment as a number and are not available."
)
LENGTH_NOTE = "steps: optimizer steps of a run. main items: items of the main task that they are made of, repeats included."
RECOVERABLE_NOTE = "recoverable: unparsed answers from which a lenient reading gets a label (macro F1 with them); they count as wrong in every other column."
PER_CLASS_NOTE = f"Bold: best, underlined: second, of the rows that are runs. Grey: a class on fewer than {MIN_VIDEOS} source videos, which has no interval."
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
MISSING_HEADINGS = ("", "shown", "missing", *HEADINGS[1:-2], "evaluations")
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
EFFECT_HEADINGS = ("effect", "design", MEASURES[PRIMARY], f"{LEVEL_TEXT} models", "p models", f"{LEVEL_TEXT} recipe", "p recipe")
EFFECT_NOTE = (
    "From the settings of rows that differ in their auxiliaries alone, one for every subset. effect of one: the mean gain from adding it, over all subsets of the others. "
    "of two (×): half of what the one gains more where the other is there. p: t tests, not corrected, exploratory."
)
INFLUENCE_HEADINGS = ("row", "minus", MEASURES[PRIMARY], "lowest (without)", "highest (without)", "other sign")
INFLUENCE_NOTE = "lowest, highest: the difference when the source video in brackets is left out. other sign: in how many cases leaving one video out turns the difference round."
BEST_OF_NOTE = "The mean of the best of k seeds over all choices of k of the finished seeds: what reporting the best of k runs would print."
CONFLICT_NOTE = "By the sentiment that people gave to text, sound and picture alone; \"none is the clip's\": the clip's own sentiment is none of the three, whatever they are."
TOPIC_NOTE = "By the topic of the clip, as the corpus names it."
COST_HEADINGS = (
    "",
    "runs",
    "stages",
    "training min",
    "evaluation min",
    "start min",
    "all min",
    "failed attempts",
    "host GiB",
    "device GiB",
    "device",
)
COST_NOTE = (
    "Minutes of workers in the attempts that finished; a stage counts in every row that needs it, and once in the last. GiB: the largest peak of a worker. "
    "These numbers belong to the machine and are part of no score."
)
MADE = ("agreed", "constrained", "rejected")
TRANSFER_HEADINGS = ("", "answered on", MEASURES[PRIMARY], f"{LEVEL_TEXT} models", "accuracy", "macro F1", "n")
TRANSFER_NOTE = "The same trained models on the reported part of each corpus, in its label space. The majority class is that of each corpus's own training part."


def score_grid(table: pl.DataFrame, task: str, differences: pl.DataFrame | None = None, printed: Mapping[str, float] | None = None) -> Grid:
    """A score table as printed; ± is the standard deviation over seeds.

    `differences` from one reference row are shown beside the scores; `printed` are macro F1 of the paper by row.
    """
    against = (
        {}
        if differences is None or differences["reference"].n_unique() != 1
        else {row["variant"]: row for row in differences.iter_rows(named=True)}
    )
    rows = tuple(_score_cells(row, against.get(row["variant"]), (printed or {}).get(row["variant"])) for row in table.iter_rows(named=True))
    headings = tuple(
        f"minus {differences['reference'][0]}" if heading == "difference" and against and differences is not None else heading
        for heading in HEADINGS
    )
    notes = [SCORE_NOTE, FORMULAS, LENGTH_NOTE, RECOVERABLE_NOTE]
    notes += [ECE_NOTE] if table["ece"].is_not_null().any() else []
    notes += [PAPER_NOTE] if printed else []
    grid = Grid(f"{task.capitalize()}: scores", headings, rows, tuple(notes), _best_cells(table, headings))
    return compact(grid, (*OPTIONAL, "minus "))


def _best_cells(table: pl.DataFrame, headings: Sequence[str]) -> dict[tuple[int, int], Emphasis]:
    """The best two runs in every column of a score."""
    names = {MEASURES[PRIMARY]: PRIMARY, **{metric.heading: metric.name for metric in METRICS}}
    runs = table["planned"].is_not_null().to_list()
    found: dict[tuple[int, int], Emphasis] = {}
    for x, heading in enumerate(headings):
        if heading in names:
            values = [value if run else None for value, run in zip(table[names[heading]], runs, strict=True)]
            found |= {(y, x): emphasis for y, emphasis in best_two(values).items()}
    return found


def _score_cells(row: dict[str, Any], difference: dict[str, Any] | None = None, printed: float | None = None) -> tuple[str, ...]:
    compared = ["", "", ""]
    if difference is not None and difference[PRIMARY] is not None:
        interval = bounds(difference[f"{PRIMARY}_low"], difference[f"{PRIMARY}_high"], sign=True)
        compared = [
            f"{decimal(difference[PRIMARY], sign=True)} {interval}",
            *(probability(difference[f"p_{question}"]) for question in QUESTIONS),
        ]
    metrics = {metric.name: with_spread(row[metric.name], row[f"{metric.name}_std"]) for metric in METRICS}
    sign = f" {SIGNIFICANT}" if difference is not None and is_significant(difference) else ""
    length = ("", "") if row["planned"] is None else (mean_count(row["steps"]), mean_count(row["main_items"]))
    return (
        row["variant"],
        with_spread(row[PRIMARY], row[f"{PRIMARY}_std"]) + sign,
        *_bounds_of(row, PRIMARY),
        *compared,
        metrics.pop(MAIN),
        *metrics.values(),
        GAP if row["ece"] is None else decimal(row["ece"]),
        *length,
        mean_count(row["unparsed"]),
        _recoverable(row),
        finished_of(row["n"], row["planned"]),
        "" if printed is None else decimal(printed),
    )


def is_significant(difference: dict[str, Any]) -> bool:
    """Whether a row of a difference table was registered and holds after correction: for the recipe where that is tested, else for these models."""
    tested = [difference[f"p_{question}"] for question in reversed(QUESTIONS) if difference[f"p_{question}"] is not None]
    return bool(difference["registered"] and tested and tested[0] <= 1 - LEVEL)


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
        variant, *cells, _, _ = _score_cells(row)
        rows.append((variant, row["shown"], f"{row['missing_rate']:.0%}", *cells, str(row["n"])))
    return compact(
        Grid(
            f"{task.capitalize()}: modalities missing at evaluation",
            MISSING_HEADINGS,
            tuple(rows),
            (MISSING_NOTE, LENGTH_NOTE, RECOVERABLE_NOTE),
        ),
        OPTIONAL,
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
    few = [x for x, label in enumerate(labels, 1) if by_cell[first, label]["source_videos"] < MIN_VIDEOS]
    emphasis: dict[tuple[int, int], Emphasis] = {(y, x): "faint" for y in range(len(rows) + 2) for x in few}
    for x, label in enumerate(labels, 1):
        if x not in few:
            values = [by_cell[variant, label]["f1"] if by_cell[variant, label]["planned"] is not None else None for variant in variants]
            emphasis |= {(y + 2, x): found for y, found in best_two(values).items()}
    return Grid(f"{task.capitalize()}: F1 per class", ("", *labels, "n"), (support, videos, *rows), (PER_CLASS_NOTE,), emphasis)


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
    return compact(Grid(f"{task.capitalize()}: differences", DIFFERENCE_HEADINGS, tuple(rows), (DIFFERENCE_NOTE,)), ("recipe",))


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


def effects_grid(table: pl.DataFrame, task: str) -> Grid:
    """Main effects and interactions as printed."""
    rows = []
    for row in table.iter_rows(named=True):
        models, recipe = (
            (bounds(row[f"{question}_low"], row[f"{question}_high"], True), probability(row[f"{question}_p"])) for question in QUESTIONS
        )
        rows.append((row["effect"], row["design"], decimal(row[PRIMARY], sign=True), *models, *recipe))
    return compact(Grid(f"{task.capitalize()}: effects of the auxiliaries", EFFECT_HEADINGS, tuple(rows), (EFFECT_NOTE,)), ("recipe",))


def influence_grid(table: pl.DataFrame, task: str) -> Grid:
    """Differences without each source video as printed."""
    rows = tuple(
        (
            row["variant"],
            row["reference"],
            decimal(row[PRIMARY], sign=True),
            f"{decimal(row['lowest'], sign=True)} ({row['without_lowest']})",
            f"{decimal(row['highest'], sign=True)} ({row['without_highest']})",
            f"{row['other_sign']} of {row['videos']}",
        )
        for row in table.iter_rows(named=True)
    )
    return Grid(f"{task.capitalize()}: differences without one source video", INFLUENCE_HEADINGS, rows, (INFLUENCE_NOTE,))


def best_of_grid(table: pl.DataFrame, task: str) -> Grid:
    """The expected best of k seeds as printed."""
    counts = sorted(set(table["k"]))
    by_cell = {(row["variant"], row["k"]): row[PRIMARY] for row in table.iter_rows(named=True)}
    variants = dict.fromkeys(table["variant"])
    rows = tuple((variant, *(decimal(by_cell[variant, k]) if (variant, k) in by_cell else "" for k in counts)) for variant in variants)
    headings = ("", *(f"best of {k}" for k in counts))
    return Grid(f"{task.capitalize()}: expected best of k seeds, {MEASURES[PRIMARY]}", headings, rows, (BEST_OF_NOTE,))


def conflict_grid(table: pl.DataFrame, task: str) -> Grid:
    """Accuracy where modalities agree or conflict, as printed."""
    return _slice_grid(table, f"{task.capitalize()}: accuracy where modalities agree or conflict", CONFLICT_NOTE)


def topic_grid(table: pl.DataFrame, task: str) -> Grid:
    """Accuracy by topic as printed."""
    return _slice_grid(table, f"{task.capitalize()}: accuracy by topic", TOPIC_NOTE)


def _slice_grid(table: pl.DataFrame, title: str, note: str) -> Grid:
    """A column per part, above the rows the numbers of clips and source videos."""
    by_cell = {(row["variant"], row["part"]): row for row in table.iter_rows(named=True)}
    parts, variants = list(dict.fromkeys(table["part"])), list(dict.fromkeys(table["variant"]))
    heads = [by_cell[variants[0], part] for part in parts]
    rows = [(name, *(str(head[key]) for head in heads)) for name, key in (("clips", "clips"), ("source videos", "source_videos"))]
    for variant in variants:
        cells = (by_cell[variant, part] for part in parts)
        rows.append((variant, *(f"{decimal(cell['accuracy'])} {bounds(cell['low'], cell['high'])}" for cell in cells)))
    few = [x for x, head in enumerate(heads, 1) if head["source_videos"] < MIN_VIDEOS]
    faint: dict[tuple[int, int], Emphasis] = {(y, x): "faint" for y in range(len(rows)) for x in few}
    return Grid(
        title,
        ("", *parts),
        tuple(rows),
        (note, f"Accuracy, and its {LEVEL_TEXT} interval for these models. Grey: fewer than {MIN_VIDEOS} source videos."),
        faint,
    )


def costs_grid(table: pl.DataFrame) -> Grid:
    """Costs as printed, in minutes of workers."""
    rows = []
    for row in table.iter_rows(named=True):
        minutes = (
            GAP if row[name] is None else f"{row[name] / 60:.1f}" for name in ("training_sec", "evaluation_sec", "startup_sec", "sec")
        )
        memory = (GAP if row[name] is None else f"{row[name]:.1f}" for name in ("host_gib", "device_gib"))
        rows.append((row["variant"], str(row["runs"]), str(row["stages"]), *minutes, str(row["failed_attempts"]), *memory, row["devices"]))
    return Grid("Costs", COST_HEADINGS, tuple(rows), (COST_NOTE,))


def yield_grid(ledger: pl.DataFrame) -> Grid | None:
    """Numbers of agreed, constrained and rejected auxiliary answers per instruction and label; None without any."""
    if ledger.is_empty():
        return None
    rows = []
    for instruction in sorted(set(ledger["instruction"])):
        mine = ledger.filter(pl.col("instruction") == instruction)
        for label in (None, *(label for label in SENTIMENTS if (mine["gold"] == label).any())):
            part = mine if label is None else mine.filter(pl.col("gold") == label)
            counts = [part.filter(pl.col("made") == made).height for made in MADE]
            rows.append((instruction, label or "all", *(f"{count} ({count / part.height:.0%})" for count in counts), str(part.height)))
    return Grid("Auxiliary supervision", ("instruction", "label", *MADE, "clips"), tuple(rows))
