"""Notes under every table: what it is scored on, what its numbers mean, stand-ins, checks, registration, missing runs."""

from __future__ import annotations

from statistics import fmean

import polars as pl

from analysis.folder import CHANGES, DONE, Results
from analysis.intervals import MEASURES, MIN_VIDEOS, PRIMARY, supported_classes, task_intervals, videos_of_classes
from analysis.render import decimal
from analysis.settings import settings_line
from analysis.statistics import LEVEL_TEXT
from analysis.units import scored_clips, task_rows
from omnimer_ray.config import flat
from omnimer_ray.corpora.clips import LABELS

DECODING = {"free": "greedy, free text", "constrained": "forced choice among the labels"}


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
    lines += [_runs(results, task), _supported(results, task), _questions(results, task), _registration(results), settings_line(results)]
    lines += [f"{note[0].upper()}{note[1:]}." for note in corpus.notes]
    lines += [f"{variant}: {note}." for variant, note in plan.notes.items()]
    lines += [_probabilities(results, task), _checks(results, task)]
    return [line for line in lines if line] + [f"Missing: {line}." for line in missing_runs(results, task)]


def _runs(results: Results, task: str) -> str:
    """Seeds, how answers were decoded, and how often the reported part was looked at."""
    done = results.runs.filter((pl.col("task") == task) & (pl.col("outcome") == DONE))
    if done.is_empty():
        return ""
    seeds = ", ".join(map(str, done["seed"].drop_nulls().unique().sort())) or "none"
    ways = {str(flat(results.settings(signature)).get("evaluation.decoding")) for signature in done["signature"]} & DECODING.keys()
    decoding = f" Answers: {' and '.join(DECODING[way] for way in sorted(ways))}." if ways else ""
    opened = done["validation_opened"].drop_nulls().unique().sort().to_list()
    looks = f" Each run opened the {results.plan.corpus.reported} part {'; '.join(opened)}." if opened else ""
    return f"Seeds: {seeds}.{decoding}{looks}"


def _probabilities(results: Results, task: str) -> str:
    """How far the probabilities of a task's labels describe its answers; empty if no run has them."""
    scored = results.predictions.filter((pl.col("instruction") == task) & pl.col("closed_set_mass").is_not_null())
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


def _supported(results: Results, task: str) -> str:
    """What the primary score is made of, and what has no interval."""
    videos, classes = videos_of_classes(results, task), supported_classes(results, task)
    rest = ", ".join(f"{label} {count}" for label, count in videos.items() if label not in classes)
    about = f"mean F1 over the classes on at least {MIN_VIDEOS} source videos: {', '.join(classes) or 'none'}"
    few = f"; too few for an interval: {rest}. Macro F1 over all classes is descriptive" if rest else ""
    return f"{MEASURES[PRIMARY]}: {about}{few}."


def _questions(results: Results, task: str) -> str:
    """What the intervals are about, and why the recipe has none."""
    intervals, rows = task_intervals(results, task), [row for row in task_rows(results, task) if row.units]
    models: dict[str, list[str]] = {}
    for row in rows:
        if reason := intervals.row(row.variant, PRIMARY).models.reason:
            models.setdefault(reason, []).append(row.variant)
    trained = [row.variant for row in rows if row.units[0].seed is not None]
    recipe = dict.fromkeys(filter(None, (intervals.row(name, PRIMARY).recipe.reason for name in trained)))
    without = [f"{', '.join(names)} ({reason})" for reason, names in models.items()] if intervals.supported else []
    lacking = f" No interval for these models: {'; '.join(without)}." if without else ""
    lacking += f" No interval for a recipe: {'; '.join(recipe)}." if recipe else ""
    return (
        f"{LEVEL_TEXT} models: for these trained models on other videos of this kind. {LEVEL_TEXT} recipe: for training again with other seeds, too. "
        f"±: standard deviation over seeds. n: finished seeds. An unparsed answer counts as wrong.{lacking}"
    )


def _registration(results: Results) -> str:
    """Which contrasts were fixed before the runs, and with what power."""
    if not results.plan.compared:
        return ""
    if not results.registrations:
        return "No contrast is registered: this folder's runs began before registrations existed, so every comparison is exploratory."
    first = results.registrations[0]
    seeds = sorted({run for run in results.runs["seed"] if run is not None} - set(first["seeds"]))
    later = f" Seeds added later: {', '.join(map(str, seeds))}." if seeds else ""
    power = f" {' '.join(first['power'])}" if first["power"] else ""
    return f"Registered on {first['date']} ({first['hash']}): {len(first['contrasts'])} contrasts on {len(first['tasks'])} tasks.{power}{later}"


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


def signature_lines(results: Results, task: str) -> list[str]:
    """Each variant's signatures, including those of missing runs."""
    return [f"{row.variant}: {', '.join(row.signatures)}" for row in task_rows(results, task) if row.signatures]
