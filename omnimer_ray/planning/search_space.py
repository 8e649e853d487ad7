"""A search: parameter space, runs of a trial, best trials. Imports neither torch, ray nor optuna.

Trials are trained and scored inside train, on a development part of its source videos. The best of them are then ordinary
variants beside Base, on the full train and on seeds that no trial has seen, and only these are evaluated on the reported part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from omnimer_ray.config import AUXILIARIES, SCHEDULES, AuxiliaryName, DevelopmentPart, Task, ThinkerConfig, changed, of_thinker
from omnimer_ray.errors import ConfigError
from omnimer_ray.planning.plan import Plan, Row, make_run
from omnimer_ray.planning.space import SearchSpace
from omnimer_ray.planning.units import LedgerUnit, Run, Unit
from omnimer_ray.records import read_json

TRIALS = "trials.json"  # outcome of every trial, for plan and analysis
DONE = "done"
NO_AUXILIARIES = "none"  # the subset without any
SUBSETS = tuple(subset for size in range(len(AUXILIARIES) + 1) for subset in combinations(AUXILIARIES, size))


class Draw(Protocol):
    """Draws a trial's parameters: Optuna's trial."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of `choices`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number from `low` to `high`."""


@dataclass(frozen=True)
class Search:
    """Ranges around a baseline, and how the best trials are found and confirmed."""

    baseline: ThinkerConfig
    task: Task = "emotion"
    num_trials: int = 32
    subsets: tuple[tuple[AuxiliaryName, ...], ...] = SUBSETS
    ranks: tuple[int, ...] = (4, 8, 16, 32)
    alphas: tuple[int, ...] = (8, 16, 32, 64)
    rate_factors: tuple[float, float] = (0.1, 3.0)  # of the recipe's learning rate; drawn log-uniformly
    auxiliary_weights: tuple[float, float] = (0.25, 4.0)  # of each auxiliary against the main task, under hybrid; log-uniformly
    development: DevelopmentPart = 4  # scores the trials: the corpus's own part if it brings one, else one of so many parts of train
    rungs: tuple[float, ...] = (0.25, 0.5)  # fractions of a stage with main items at which a trial may be pruned
    reduction: int = 3  # one in so many of the trials that reached a rung is kept
    num_confirmed: int = 3
    confirmation_seeds: tuple[int, ...] = (1, 2, 3)
    seed: int = 0  # of the study and of every trial

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise ConfigError("search: " + "; ".join(faults))

    def with_seeds(self, seeds: tuple[int, ...]) -> Search:
        """The same search, confirmed on as many seeds that no trial used."""
        return replace(self, confirmation_seeds=tuple(self.seed + 1 + seed for seed in seeds))


class Trial(NamedTuple):
    """A row of trials.json; `outcome` is done, pruned, a failure, or None while it is not finished."""

    number: int
    outcome: str | None
    reason: str | None
    params: dict[str, Any]
    development_f1: float | None  # macro F1 on the development part, of a trial that is done
    num_steps: int | None
    signature: str | None
    repeats: int | None  # the earlier trial that was the same run


def draw(search: Search, trial: Draw) -> dict[str, Any]:
    """Draw a trial's parameters: no schedule without auxiliaries, no mixture unless a stage mixes items."""
    rate = search.baseline.optimizer.learning_rate
    params = {
        "auxiliaries": trial.suggest_categorical("auxiliaries", [_joined(subset) for subset in search.subsets]),
        "rank": trial.suggest_categorical("rank", search.ranks),
        "alpha": trial.suggest_categorical("alpha", search.alphas),
        "learning_rate": trial.suggest_float("learning_rate", *(rate * factor for factor in search.rate_factors), log=True),
    }
    if params["auxiliaries"] != _joined(()):
        params["schedule"] = trial.suggest_categorical("schedule", tuple(SCHEDULES))
    if any(set(stage) == {"main", "auxiliary"} for stage in SCHEDULES.get(params.get("schedule", ""), ())):
        params["auxiliary_weight"] = trial.suggest_float("auxiliary_weight", *search.auxiliary_weights, log=True)
    return params


def delta(search: Search, params: dict[str, Any]) -> dict[str, Any]:
    """Changes to the baseline for these parameters, in the form of a variant."""
    auxiliaries = [name for name in AUXILIARIES if name in params["auxiliaries"].split("+")]
    changes = {
        "auxiliaries": set(auxiliaries),
        "lora.rank": params["rank"],
        "lora.alpha": params["alpha"],
        "optimizer.learning_rate": params["learning_rate"],
    }
    if auxiliaries:
        changes["schedule"] = params["schedule"]
    if "auxiliary_weight" in params:
        weights = dict.fromkeys((AUXILIARIES[name].kind for name in auxiliaries), params["auxiliary_weight"])
        changes["mixture"] = {search.task: 1.0, **weights}
    return changes


def trial_run(search: Search, params: dict[str, Any]) -> Run:
    """The run of a trial: never on the reported part. It answers no auxiliary instruction: only its F1 is used."""
    return make_run(changed(search.baseline, {**delta(search, params), **_of_trials(search)}))


_ONLY_F1 = {"evaluation.auxiliaries": False, "evaluation.also": ()}  # nothing else of a trial is used


def _of_trials(search: Search) -> dict[str, Any]:
    return {"task": search.task, "seed": search.seed, "corpus.development": search.development, **_ONLY_F1}


def named(params: dict[str, Any]) -> str:
    """Parameters in one line: text+video / hybrid / rank 16 / alpha 32 / rate 0.0021 / auxiliaries x 1.3."""
    parts = [params["auxiliaries"], params.get("schedule"), f"rank {params['rank']}", f"alpha {params['alpha']}"]
    parts += [
        f"rate {params['learning_rate']:.2g}",
        f"auxiliaries x {params['auxiliary_weight']:.2g}" if "auxiliary_weight" in params else None,
    ]
    return " / ".join(part for part in parts if part)


def units_of(name: str, run: Run) -> tuple[Unit, ...]:
    """A run's units: parts of the ledger, its stages but the last, and the run."""
    row = Row(name, run.config.task, run.config.seed, None, run.signature)
    return Plan(SearchSpace(of_thinker(run.config), {name: {}}), (row,), {run.signature: run}).units


def ledger_units(search: Search) -> tuple[LedgerUnit, ...]:
    """The parts of the ledger that any subset may need."""
    found = {unit.id: unit for run in trial_plan(search).runs.values() for unit in units_of("", run) if isinstance(unit, LedgerUnit)}
    return tuple(found.values())


def trial_plan(search: Search) -> Plan:
    """A run without auxiliaries and one with all of them under each schedule: for checks and estimates before a trial is drawn."""
    used = {modality for subset in search.subsets for modality in subset}
    chosen = _of_trials(search)
    schedules = {"none": {}, **({name: {"auxiliaries": used, "schedule": name} for name in SCHEDULES} if used else {})}
    runs = {name: make_run(changed(search.baseline, {**chosen, **extra})) for name, extra in schedules.items()}
    rows = tuple(Row(name, search.task, search.seed, None, run.signature) for name, run in runs.items())
    return Plan(SearchSpace(search.baseline, {}), rows, {run.signature: run for run in runs.values()})


def drawn_runs(search: Search) -> list[list[Run]]:
    """Return per subset a run of every schedule, as trials draw them with equal chances; each with the largest rank, for estimates."""
    chosen = {**_of_trials(search), "lora.rank": max(search.ranks)}
    return [
        [
            make_run(changed(search.baseline, {**chosen, "auxiliaries": set(subset), "schedule": schedule}))
            for schedule in tuple(SCHEDULES)[: None if subset else 1]  # without auxiliaries a schedule has no effect
        ]
        for subset in search.subsets
    ]


def read_trials(folder: Path) -> list[Trial]:
    """Read the trials of a results folder; none without the file."""
    path = folder / TRIALS
    return [Trial(**row) for row in read_json(path)["trials"]] if path.exists() else []


def is_over(search: Search, trials: list[Trial]) -> bool:
    """Whether all trials were drawn and have ended."""
    return sum(trial.outcome is not None for trial in trials) >= search.num_trials


def best(search: Search, trials: list[Trial]) -> list[Trial]:
    """The trials to confirm: the highest development macro F1, the earlier of equals, each run once.

    The best without auxiliaries and the best with some are always among them: a tuned Base against a tuned recipe.
    """
    ranked = _ranked(trials)
    alone = [trial for trial in ranked if trial.params["auxiliaries"] == NO_AUXILIARIES]
    helped = [trial for trial in ranked if trial.params["auxiliaries"] != NO_AUXILIARIES]
    chosen = [*ranked[: search.num_confirmed], *alone[:1], *helped[:1]]
    return [trial for trial in ranked if trial in chosen]


def _ranked(trials: list[Trial]) -> list[Trial]:
    """The finished trials, each run once, from the highest development macro F1 to the lowest; of equals the earlier first."""
    done = [trial for trial in trials if trial.outcome == DONE and trial.repeats is None]
    return sorted(done, key=lambda trial: (-float(trial.development_f1 or 0), trial.number))


def confirmation(search: Search, trials: list[Trial]) -> SearchSpace:
    """Base and, once all trials have ended, the best of them, as variants on the full train split and new seeds."""
    chosen = best(search, trials) if is_over(search, trials) else []
    places = {trial.number: place for place, trial in enumerate(_ranked(trials), 1)}
    variants = {f"best {places[trial.number]}: {named(trial.params)}": delta(search, trial.params) for trial in chosen}
    return SearchSpace(search.baseline, {"Base": {}, **variants}, (search.task,), search.confirmation_seeds, grid=True)


def identity(search: Search) -> dict[str, Any]:
    """Identity of a study, as plain data; more trials or another confirmation leave it the same study."""
    free = {"baseline", "num_trials", "num_confirmed", "confirmation_seeds"}
    fixed = {name: value for name, value in asdict(search).items() if name not in free}
    return {**fixed, "baseline": make_run(changed(search.baseline, {"task": search.task})).signature}


def _joined(subset: tuple[AuxiliaryName, ...]) -> str:
    return "+".join(subset) or NO_AUXILIARIES


def _faults(search: Search) -> Iterator[str]:
    """Every fault of a search, with its value."""
    for name, least in (("num_trials", 1), ("num_confirmed", 1), ("development", 2), ("reduction", 2)):
        if (value := getattr(search, name)) != "own" and value < least:
            yield f"{name} {value} must be {least} or more"
    for name in ("subsets", "ranks", "alphas", "confirmation_seeds"):
        if not getattr(search, name):
            yield f"{name} must name at least one"
    if unknown := sorted({modality for subset in search.subsets for modality in subset} - set(AUXILIARIES)):
        yield f"subsets name {unknown}; known: {', '.join(AUXILIARIES)}"
    for name in ("rate_factors", "auxiliary_weights"):
        low, high = getattr(search, name)
        if not 0 < low <= high:
            yield f"{name} {low:g} to {high:g} must be a range above 0"
    if list(search.rungs) != sorted(set(search.rungs)) or not all(0 < rung < 1 for rung in search.rungs):
        yield f"rungs {search.rungs} must rise between 0 and 1"
    if search.seed in search.confirmation_seeds:
        yield f"confirmation_seeds {search.confirmation_seeds} contain {search.seed}, the seed of the trials; choose others"
