"""Figures of how runs went: learning curves, LoRA ranks, the trials of a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analysis.ablation import score_table
from analysis.best_of import expected_best
from analysis.drawing import BLUE, GREY, LINES, gridded, heat, plain, title, wrapped
from analysis.folder import DONE, Results
from analysis.intervals import MEASURES, PRIMARY
from analysis.render import decimal
from analysis.search_table import PARAMS, TrialRow, read_trials
from omnimer_ray.config import flat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_TRIALS = 8  # with a score, for importances
TREES = 500
SMOOTH = 8  # steps


def curves(results: Results, task: str) -> dict[str, list[list[float]]]:
    """Variant -> losses by step of each seed, stages one after the other; only runs whose stages are in the folder."""
    found: dict[str, list[list[float]]] = {}
    done = results.runs.filter((pl.col("task") == task) & (pl.col("outcome") == DONE)).sort("seed", "fold", maintain_order=True)
    for variant, stages in done.select("variant", "stages").iter_rows():
        files = [results.folder / "stages" / stage / "history.jsonl" for stage in stages or ()]
        if files and all(file.exists() for file in files):
            found.setdefault(variant, []).append([loss for file in files for loss in _losses(file)])
    return found


def _losses(file: Path) -> list[float]:
    losses = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            losses.append(float(json.loads(line)["loss"]))
        except (ValueError, KeyError, TypeError):  # a line that a kill cut off
            continue
    return losses


def learning_curves(figure: Figure, results: Results, task: str) -> None:
    """The loss of every step, smoothed; a colour per variant, a line per seed."""
    figure.set_size_inches(8, 4)
    axes = figure.subplots()
    for number, (variant, seeds) in enumerate(curves(results, task).items()):
        for place, losses in enumerate(seeds):
            smooth = [sum(part) / len(part) for part in (losses[max(0, step - SMOOTH + 1) : step + 1] for step in range(len(losses)))]
            label = plain(wrapped(variant)) if place == 0 else None
            axes.plot(range(1, len(smooth) + 1), smooth, color=LINES[number % len(LINES)], linewidth=1.2, alpha=0.8, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("optimizer step; stages one after the other")
    networks = (results.runs["method"].drop_nulls() != "thinker").any()
    axes.set_ylabel("loss per answer token" + ("; of networks on features per clip" if networks else ""))
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    gridded(axes, "y")
    title(figure, f"{task.capitalize()}: training loss, mean of {SMOOTH} steps")


def rank_cells(results: Results, task: str) -> dict[tuple[str, int], float]:
    """(auxiliaries and schedule, rank) -> the first score, from the settings of runs; empty unless ranks and auxiliaries both differ."""
    scores = {row["variant"]: row[PRIMARY] for row in score_table(results, task).iter_rows(named=True)}
    cells: dict[tuple[str, int], float] = {}
    done = results.runs.filter((pl.col("task") == task) & (pl.col("outcome") == DONE) & (pl.col("num_steps") > 0))
    for variant, signature in done.unique("variant", maintain_order=True).select("variant", "signature").iter_rows():
        settings = flat(results.settings(signature))
        if "lora.rank" in settings and scores[variant] is not None:
            auxiliaries = " + ".join(settings.get("auxiliaries") or ()) or "none"
            name = auxiliaries if auxiliaries == "none" else f"{auxiliaries}, {settings.get('schedule')}"
            cells.setdefault((name, int(settings["lora.rank"])), scores[variant])
    names, ranks = {name for name, _ in cells}, {rank for _, rank in cells}
    return cells if len(names) > 1 and len(ranks) > 1 else {}


def ranks(figure: Figure, results: Results, task: str) -> None:
    """The first score of every subset and rank."""
    cells = rank_cells(results, task)
    names, columns = list(dict.fromkeys(name for name, _ in cells)), sorted({rank for _, rank in cells})
    figure.set_size_inches(3.4 + 0.8 * len(columns), 1.2 + 0.3 * len(names))
    axes = figure.subplots()
    values = [[cells.get((name, rank)) for rank in columns] for name in names]
    heat(axes, values, [["" if value is None else decimal(value) for value in line] for line in values], 8, max(cells.values()) or 1)
    axes.set_xticks(range(len(columns)), [f"rank {rank}" for rank in columns])
    axes.set_yticks(range(len(names)), names)
    title(figure, f"{task.capitalize()}: {MEASURES[PRIMARY]} by auxiliaries and rank")


def scored_trials(results: Results) -> list[TrialRow]:
    """The trials of a search that have a score; none in a sweep that is no search."""
    if not (results.folder / "trials.json").exists():
        return []
    return [trial for trial in read_trials(results.folder) if trial.development_f1 is not None]


def search(figure: Figure, results: Results) -> None:
    """Every trial's score and the best so far; what a budget of k trials may expect; which parameters matter, with enough trials."""
    trials = scored_trials(results)
    values = [trial.development_f1 or 0.0 for trial in trials]
    found = importances(trials)
    figure.set_size_inches(10 if found else 6.8, 3.4)
    history, budget, *more = figure.subplots(1, 3 if found else 2)
    history.plot([trial.number for trial in trials], values, "o", color=GREY, markersize=4)
    history.step([trial.number for trial in trials], [max(values[: place + 1]) for place in range(len(values))], where="post", color=BLUE)
    history.set_xlabel("trial")
    history.set_ylabel("macro F1 on the development part")
    history.set_title("history (line: best so far)", loc="left")
    budget.plot(range(1, len(values) + 1), [expected_best(values, k) for k in range(1, len(values) + 1)], "o-", color=BLUE, markersize=3)
    budget.set_xlabel("number of trials")
    budget.set_title("expected best of so many trials", loc="left")
    for axes in (history, budget):
        gridded(axes, "y")
    for matter in more:
        matter.barh(range(len(found)), list(found.values()), color=BLUE, height=0.6)
        matter.set_yticks(range(len(found)), list(found))
        matter.invert_yaxis()
        matter.set_title("importance of parameters", loc="left")
        matter.set_xlabel("share of the variance that a forest explains")
        gridded(matter, "x")
    title(figure, "Search: trials, on the development part")


def importances(trials: list[TrialRow]) -> dict[str, float]:
    """Parameter -> its share of the variance that a forest of TREES explains (impurity decrease); empty with too few trials."""
    if len(trials) < MIN_TRIALS:
        return {}
    from sklearn.ensemble import RandomForestRegressor

    columns = []
    for name in PARAMS:
        known = sorted({str(trial.params.get(name)) for trial in trials})
        as_number = [trial.params.get(name) for trial in trials]
        numeric = all(isinstance(value, int | float) for value in as_number if value is not None)
        columns.append([(value if value is not None else -1) if numeric else known.index(str(value)) for value in as_number])
    forest = RandomForestRegressor(TREES, random_state=0).fit(np.array(columns, float).T, [trial.development_f1 for trial in trials])
    found = dict(zip(PARAMS, map(float, forest.feature_importances_), strict=True))
    return dict(sorted(found.items(), key=lambda item: -item[1]))
