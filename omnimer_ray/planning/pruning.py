"""Asynchronous successive halving (ASHA, arXiv 1810.05934): at a fraction of its stage a trial continues or is pruned.

rungs/<group>/<percent>/<signature>.json in the trials' folder; a group is the trials of one schedule. A verdict is written
once, from the trials that have reached the rung by then, and is kept when the trial is resumed.

Kept instead of Tune's or Optuna's pruners: a verdict survives a kill, and schedules with stages of different lengths are not compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.config import ThinkerConfig, of_thinker
from omnimer_ray.planning.units import Run
from omnimer_ray.records import read_json, write_json
from omnimer_ray.training.ranks import broadcast_from_rank_0

PRUNED = "pruned"  # a run's outcome


class Pruning(NamedTuple):
    """At which fractions of a stage trials are judged, and how many are kept."""

    rungs: tuple[float, ...]  # fractions of a stage
    reduction: int


class Verdict(NamedTuple):
    """The decision about one trial at one rung; its fields are those of the file in `rungs/`."""

    rung: float
    value: float  # macro F1 on the development part
    kept: bool
    standing: int  # trials at the rung, this one among them
    reduction: int

    @property
    def reason(self) -> str:
        """The reason for pruning, in one line."""
        share = f"the best {self.standing // self.reduction} of {self.standing}"
        return f"macro F1 {self.value:.3f} at {self.rung:.0%} of the stage, not among {share}"


def rung_steps(rungs: tuple[float, ...], num_steps: int) -> dict[int, float]:
    """Step after which each rung is reached -> the rung; none at a stage's end, where the run is evaluated anyway."""
    steps = {math.ceil(rung * num_steps): rung for rung in rungs}
    return {step: rung for step, rung in steps.items() if step < num_steps}


def is_kept(value: float, others: list[float], reduction: int) -> bool:
    """Whether `value` is in the best 1/reduction of all trials at a rung; with fewer than `reduction` trials all are kept."""
    num_at_rung = len(others) + 1
    return num_at_rung < reduction or sum(other > value for other in others) < num_at_rung // reduction


def judge(folder: Path, config: ThinkerConfig, signature: str, rung: float, value: float, reduction: int) -> Verdict:
    """Decide about a trial, and write the verdict beside those of the other trials at the rung."""
    place = _place(folder, config, rung)
    others = [Verdict(**read_json(path)).value for path in sorted(place.glob("*.json")) if path.stem != signature]
    verdict = Verdict(rung, value, is_kept(value, others, reduction), len(others) + 1, reduction)
    write_json(place / f"{signature}.json", verdict._asdict())
    return verdict


def verdicts(folder: Path, config: ThinkerConfig, signature: str, rungs: tuple[float, ...]) -> list[Verdict]:
    """The written verdicts of a trial, in the order of rungs."""
    paths = [_place(folder, config, rung) / f"{signature}.json" for rung in rungs]
    return [Verdict(**read_json(path)) for path in paths if path.exists()]


class Judge:
    """Called on every rank after every step of a trial's main stage; all ranks take the verdict of rank 0."""

    def __init__(self, pruning: Pruning, folder: Path, run: Run, num_steps: int, score: Callable[[], float]) -> None:
        self.pruning, self.folder, self.run, self.score = pruning, folder, run, score
        self.steps = rung_steps(pruning.rungs, num_steps)
        written = broadcast_from_rank_0(lambda: verdicts(folder, of_thinker(run.config), run.signature, pruning.rungs))
        self.verdicts = {verdict.rung: verdict for verdict in written}

    @property
    def pruned(self) -> Verdict | None:
        """The verdict that ended the trial."""
        return next((verdict for verdict in self.verdicts.values() if not verdict.kept), None)

    def step_of(self, verdict: Verdict) -> int:
        """Step after which a verdict was made."""
        return next(step for step, rung in self.steps.items() if rung == verdict.rung)

    def __call__(self, step: int) -> bool:
        """Whether the trial is pruned at this step or was before."""
        rung = self.steps.get(step)
        if rung is not None and rung not in self.verdicts:
            value = self.score()
            self.verdicts[rung] = broadcast_from_rank_0(
                lambda: judge(self.folder, of_thinker(self.run.config), self.run.signature, rung, value, self.pruning.reduction)
            )
        return self.pruned is not None


def _place(folder: Path, config: ThinkerConfig, rung: float) -> Path:
    return folder / "rungs" / (config.schedule or "none") / f"{100 * rung:g}"
