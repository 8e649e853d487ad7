"""Before anything starts: what a worker needs of its memory, and how long the rest takes by the rates of runs that were measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.doctor import Finding
from omnimer_ray.doctor.host import nvidia_cards
from omnimer_ray.doctor.work import fits
from omnimer_ray.extents import Extent, duration, extents_of
from omnimer_ray.machine import MachineProfile, local_resources, pace
from omnimer_ray.request import Sweep


class Rates(NamedTuple):
    """Seconds, as finished runs took them."""

    runs: int
    startup: float  # of a unit, until its first step or answer
    item: float  # trained
    answer: float


def memory(sweep: Sweep) -> Finding:
    """The hungriest run of the plan against what a worker gets, as far as that is seen from here."""
    here = sweep.profile.address is None
    found = nvidia_cards() if here and sweep.profile.gpus_per_worker else []
    configs = [run.config for run in sweep.plan.runs.values()]
    cards = [] if isinstance(found, str) else found
    return fits(sweep.profile, sweep.base, local_resources() if here else None, cards, configs)


def time_left(sweep: Sweep, at_once: int | None) -> tuple[float | None, str]:
    """Seconds that the units without an outcome take, and a line that says so; None where nothing was measured."""
    rates = measured(read_costs(sweep.request.results, f"{sweep.corpus.name}-{sweep.recipe.base.name}"), sweep.profile)
    if rates is None:
        return None, "no measured rates yet: no run of this corpus and base is finished on this profile"
    extents = extents_of(sweep.plan, len(sweep.corpus.split("train")), len(sweep.corpus.split("validation")))
    left = seconds(rates, [extents[unit.id] for unit in sweep.plan.units if sweep.outcome(unit) is None]) / (at_once or 1)
    how = f"{at_once} at once" if at_once else "one after the other"
    return left, f"about {duration(left)}, {how}, by the rates of {rates.runs} finished runs" if left else "nothing is left to start"


def seconds(rates: Rates, extents: Sequence[Extent]) -> float:
    """Of units, one after the other."""
    return sum(rates.startup + unit.steps * unit.batch * rates.item + unit.answers * rates.answer for unit in extents)


def measured(costs: Iterable[dict[str, Any]], profile: MachineProfile) -> Rates | None:
    """The mean rates of the runs that this profile carried; None while there is none that trained and none that answered."""
    alike = [cost for cost in costs if cost.get("pace") == pace(profile)]

    def total(name: str) -> float:
        return float(sum(cost[name] for cost in alike))

    if not alike or not total("items") or not total("answers"):
        return None
    return Rates(
        len(alike), total("startup_sec") / len(alike), total("training_sec") / total("items"), total("evaluation_sec") / total("answers")
    )


def read_costs(results: Path, name: str) -> list[dict[str, Any]]:
    """`cost.json` of all runs of a corpus and base, whatever their space, limit and folds."""
    costs = []
    for path in sorted(results.glob(f"*/{name}*/runs/*/cost.json")):
        if path.parts[-4] == name or path.parts[-4].startswith((f"{name}-limit", f"{name}-folds")):
            try:
                costs.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):  # only a forecast hangs on it
                continue
    return [cost for cost in costs if isinstance(cost, dict)]
