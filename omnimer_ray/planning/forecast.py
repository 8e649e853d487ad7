"""Forecast before anything starts: memory of a worker, and remaining time by the rates of finished runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from omnimer_ray.config import ThinkerConfig, of_thinker
from omnimer_ray.corpora.select import development_splits
from omnimer_ray.doctor import Finding
from omnimer_ray.doctor.work import CARD_GIB, fits
from omnimer_ray.machine.cards import nvidia_cards
from omnimer_ray.machine.flops import ASSUMED_SEC, ASSUMED_SHARE, answered_item, trained_item, typical_item
from omnimer_ray.machine.memory import recompute_rule
from omnimer_ray.machine.profile import MachineProfile, local_resources, pace, shipped_profiles
from omnimer_ray.planning.extents import Extent, duration, extent, extents_of
from omnimer_ray.planning.search_space import Search, drawn_runs, ledger_units, read_trials, units_of
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import LedgerUnit, Run


class Rates(NamedTuple):
    """Mean seconds, measured on finished runs."""

    runs: int
    startup: float  # of a unit, until its first step or answer
    item: float  # trained
    answer: float


def memory(sweep: Sweep) -> Finding:
    """Compare the memory of the plan's largest run with that of a worker, as far as it is known on this machine."""
    here = sweep.profile.address is None
    found = nvidia_cards() if here and sweep.profile.gpus_per_worker else []
    configs = list(sweep.plan.thinkers)
    if sweep.search is not None:
        configs += [of_thinker(run.config) for runs in drawn_runs(sweep.search) for run in runs]
    cards = [] if isinstance(found, str) else found
    return fits(sweep.profile, sweep.base, local_resources() if here else None, cards, configs)


def cards_that_fit(sweep: Sweep) -> list[str]:
    """A line for each profile of `cluster/` whose card's memory is known: whether the plan's largest run fits it."""
    configs = list(sweep.plan.thinkers)
    profiles = {name: profile for name, profile in shipped_profiles().items() if profile.accelerator_type in CARD_GIB}
    found = {name: fits(profile, sweep.base, None, [], configs) for name, profile in profiles.items()}
    return [f"{name}: {'fits' if finding.ok else 'does not fit'}; {finding.text}" for name, finding in found.items()]


def time_left(sweep: Sweep, at_once: int | None) -> tuple[float | None, str]:
    """Seconds for all units without an outcome, trials included, and the line to print; None if nothing was measured."""
    rates = measured(read_costs(sweep.request.results, f"{sweep.corpus.name}-{sweep.recipe.base.name}"), sweep.profile)
    if rates is None:
        return None, "no measured rates yet: no run of this corpus and base is finished on this profile" + _by_arithmetic(sweep, at_once)
    extents = extents_of(sweep.plan, len(sweep.corpus.split("train")), len(sweep.corpus.scored))
    total = seconds(rates, [extents[unit.id] for unit in sweep.plan.units if sweep.outcome(unit) is None])
    trials = num_trials_left(sweep)
    left = (total + (_search_sec(sweep, rates, trials) if trials else 0)) / (at_once or 1)
    how = f"{at_once} at once" if at_once else "one after the other"
    searched = f", {trials} trials included as if none were pruned" if trials else ""
    return (
        left,
        f"about {duration(left)}, {how}, by the rates of {rates.runs} finished runs{searched}" if left else "nothing is left to start",
    )


def _by_arithmetic(sweep: Sweep, at_once: int | None) -> str:
    """Hours from counted operations and a share of the profile's peak, marked as not measured; empty if the peak is not known."""
    peak, shape = sweep.profile.peak_tflops, sweep.base.shape
    if peak is None or shape is None or sweep.search is not None:
        return ""
    extents = extents_of(sweep.plan, len(sweep.corpus.split("train")), len(sweep.corpus.scored))
    operations, card = 0.0, CARD_GIB.get(sweep.profile.accelerator_type or "", 0.0)
    for unit in sweep.plan.units:
        if isinstance(unit.config, ThinkerConfig) and sweep.outcome(unit) is None:
            work, item = extents[unit.id], typical_item(unit.config)
            recompute = recompute_rule(sweep.profile, card, shape, unit.config)
            again = recompute is not None and recompute(item.total, item.audio)
            operations += work.steps * work.batch * trained_item(shape, unit.config, item, again, bool(sweep.profile.features_gib))
            operations += work.answers * answered_item(shape, item)
    cards = max(1, sweep.profile.workers_per_run)
    card_hours = operations / (peak * 1e12 * ASSUMED_SHARE) / 3600
    return (
        f"; by arithmetic, not measured: {card_hours:.3g} card-hours, {card_hours / cards / (at_once or 1):.3g} hours "
        f"on {cards * (at_once or 1)} cards, at {ASSUMED_SHARE:.0%} of {peak:g} TFLOPS and clips of {ASSUMED_SEC:g} s (both assumed)"
    )


def num_trials_left(sweep: Sweep) -> int:
    """Return how many trials of a search have not ended; 0 for a sweep that is no search."""
    if sweep.search is None:
        return 0
    return max(0, sweep.search.num_trials - sum(trial.outcome is not None for trial in read_trials(sweep.folder)))


def _search_sec(sweep: Sweep, rates: Rates, num_trials: int) -> float:
    """Seconds of supervision, trials, and the confirmed runs that enter the plan only after the last trial, run one after the other."""
    search, corpus = sweep.search, sweep.corpus
    assert search is not None
    sides = Counter(clip.split for clip in development_splits(corpus.clips, search.development))
    ledgers = [extent(unit, sides.total(), 0) for unit in ledger_units(search) if sweep.outcome(unit) is None]
    trial = _mean_run_sec(search, rates, sides["train"], sides["development"])
    confirmed = _mean_run_sec(search, rates, len(corpus.split("train")), len(corpus.scored))
    return seconds(rates, ledgers) + num_trials * trial + search.num_confirmed * len(search.confirmation_seeds) * confirmed


def _mean_run_sec(search: Search, rates: Rates, num_training: int, num_evaluated: int) -> float:
    """Mean over the runs that a trial may draw: equal weights for subsets, and for the schedules of a subset."""

    def run_sec(run: Run) -> float:
        return seconds(rates, [extent(unit, num_training, num_evaluated) for unit in units_of("", run) if not isinstance(unit, LedgerUnit)])

    return fmean(fmean(map(run_sec, runs)) for runs in drawn_runs(search))


def seconds(rates: Rates, extents: Sequence[Extent]) -> float:
    """Seconds of units that run one after the other."""
    return sum(rates.startup + unit.steps * unit.batch * rates.item + unit.answers * rates.answer for unit in extents)


def measured(costs: Iterable[dict[str, Any]], profile: MachineProfile) -> Rates | None:
    """Mean rates of the runs on this profile; None until one has trained and one has answered."""
    alike = [cost for cost in costs if cost.get("pace") == pace(profile) and cost.get("method", "thinker") == "thinker"]

    def total(name: str) -> float:
        return float(sum(cost[name] for cost in alike))

    if not alike or not total("items") or not total("answers"):
        return None
    return Rates(
        len(alike), total("startup_sec") / len(alike), total("training_sec") / total("items"), total("evaluation_sec") / total("answers")
    )


def read_costs(results: Path, name: str) -> list[dict[str, Any]]:
    """`cost.json` of all runs of a corpus and base, those of trials too, whatever their space, limit and folds."""
    costs = []
    for path in sorted([*results.glob(f"*/{name}*/runs/*/cost.json"), *results.glob(f"*/{name}*/trials/runs/*/cost.json")]):
        folder = path.relative_to(results).parts[1]
        if folder == name or folder.startswith((f"{name}-limit", f"{name}-folds")):
            try:
                costs.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):  # only the forecast needs it
                continue
    return [cost for cost in costs if isinstance(cost, dict)]
