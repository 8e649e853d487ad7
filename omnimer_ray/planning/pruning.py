"""Successive halving without waiting (ASHA, arXiv 1810.05934): at a fraction of its stage a trial goes on or is pruned.

rungs/<group>/<percent>/<signature>.json in the trials' folder; a group is the trials of one schedule. A verdict is written
once, from what stands at the rung at that moment, and holds when the trial is resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.config import RunConfig
from omnimer_ray.planning.units import Run
from omnimer_ray.records import read_json, write_json
from omnimer_ray.training.ranks import of_rank_0

PRUNED = "pruned"  # a run's outcome


class Pruning(NamedTuple):
    """Where trials are judged, and how hard."""

    rungs: tuple[float, ...]  # fractions of a stage
    reduction: int


class Verdict(NamedTuple):
    """What was found of one trial at one rung."""

    rung: float
    value: float  # macro F1 on the development part
    kept: bool
    standing: int  # trials at the rung, this one among them
    reduction: int

    @property
    def reason(self) -> str:
        """Why it was pruned, in one line."""
        share = f"the best {self.standing // self.reduction} of {self.standing}"
        return f"macro F1 {self.value:.3f} at {self.rung:.0%} of the stage, not among {share}"


def rung_steps(rungs: tuple[float, ...], num_steps: int) -> dict[int, float]:
    """Step after which each rung is met -> the rung; none at a stage's end, where the run is evaluated anyhow."""
    steps = {math.ceil(rung * num_steps): rung for rung in rungs}
    return {step: rung for step, rung in steps.items() if step < num_steps}


def is_kept(value: float, others: list[float], reduction: int) -> bool:
    """Whether `value` is in the best 1/reduction of all that stand at a rung; everything is while too few stand."""
    standing = len(others) + 1
    return standing < reduction or sum(other > value for other in others) < standing // reduction


def judge(folder: Path, config: RunConfig, signature: str, rung: float, value: float, reduction: int) -> Verdict:
    """The verdict on a trial, written beside those that stand at the rung."""
    place = _place(folder, config, rung)
    others = [Verdict(**read_json(path)).value for path in sorted(place.glob("*.json")) if path.stem != signature]
    verdict = Verdict(rung, value, is_kept(value, others, reduction), len(others) + 1, reduction)
    write_json(place / f"{signature}.json", verdict._asdict())
    return verdict


def verdicts(folder: Path, config: RunConfig, signature: str, rungs: tuple[float, ...]) -> list[Verdict]:
    """What is written of a trial, rung by rung."""
    paths = [_place(folder, config, rung) / f"{signature}.json" for rung in rungs]
    return [Verdict(**read_json(path)) for path in paths if path.exists()]


class Judge:
    """Asked on every rank after every step of a trial's main stage; rank 0's verdict holds for all."""

    def __init__(self, pruning: Pruning, folder: Path, run: Run, num_steps: int, score: Callable[[], float]) -> None:
        self.pruning, self.folder, self.run, self.score = pruning, folder, run, score
        self.steps = rung_steps(pruning.rungs, num_steps)
        written = of_rank_0(lambda: verdicts(folder, run.config, run.signature, pruning.rungs))
        self.verdicts = {verdict.rung: verdict for verdict in written}

    @property
    def pruned(self) -> Verdict | None:
        """The verdict that ended the trial."""
        return next((verdict for verdict in self.verdicts.values() if not verdict.kept), None)

    def step_of(self, verdict: Verdict) -> int:
        """The step after which a verdict was given."""
        return next(step for step, rung in self.steps.items() if rung == verdict.rung)

    def __call__(self, step: int) -> bool:
        """Whether the trial ends here."""
        rung = self.steps.get(step)
        if rung is not None and rung not in self.verdicts:
            value = self.score()
            self.verdicts[rung] = of_rank_0(
                lambda: judge(self.folder, self.run.config, self.run.signature, rung, value, self.pruning.reduction)
            )
        return self.pruned is not None


def _place(folder: Path, config: RunConfig, rung: float) -> Path:
    return folder / "rungs" / (config.schedule or "none") / f"{100 * rung:g}"
