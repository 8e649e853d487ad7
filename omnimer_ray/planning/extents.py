"""Work of a unit, computed from the numbers of clips; and seconds as text."""

from __future__ import annotations

from typing import NamedTuple

from omnimer_ray.config import AUXILIARIES, ThinkerConfig, matched_auxiliaries, stage_epochs
from omnimer_ray.fusion_config import FusionConfig, Linear
from omnimer_ray.planning.plan import Plan
from omnimer_ray.planning.units import FeatureUnit, LedgerUnit, RunUnit, Stage, Unit, trained_stage
from omnimer_ray.training.schedule import num_steps

STARTUP_ITEMS = 250  # loading a base costs about as much as this many items; only the estimate of time left uses it


class Extent(NamedTuple):
    """Work of a unit, in items trained or answered."""

    steps: int
    answers: int
    batch: int

    @property
    def work(self) -> int:
        """Total, in items."""
        return self.steps * self.batch + self.answers + STARTUP_ITEMS


def extent(unit: Unit, num_training: int, num_scored: int) -> Extent:
    """Work of a unit from the numbers of clips; rejected supervision makes it an upper bound."""
    if isinstance(unit, LedgerUnit):
        return Extent(0, -(-num_training // unit.part.shards), 0)
    if isinstance(unit, FeatureUnit):
        return Extent(0, num_training + num_scored, 0)
    stage = trained_stage(unit)
    steps = stage_steps(stage, num_training) if stage else 0
    if not isinstance(unit.config, ThinkerConfig):  # its items cost next to nothing beside the Thinker's, by whose rates time is estimated
        return Extent(steps, 0, 0)
    answered = (1 + len(AUXILIARIES) * unit.config.evaluation.auxiliaries) * num_scored if isinstance(unit, RunUnit) else 0
    answered += sum(other.num_clips for other in unit.config.evaluation.also) if isinstance(unit, RunUnit) else 0
    return Extent(steps, answered, unit.config.global_batch if stage else 0)


def stage_steps(stage: Stage, num_training: int) -> int:
    """Optimizer steps of a stage; rejected supervision makes it an upper bound."""
    config = stage.config
    if isinstance(config, FusionConfig):
        fitted = isinstance(config.network, Linear) or stage.position > 0
        return 0 if fitted else num_steps(round(num_training * config.train_fraction), config.epochs, config.global_batch)
    assert isinstance(config, ThinkerConfig)
    if isinstance(config.steps, int):
        return config.steps
    kinds = len({*stage.kinds, *(AUXILIARIES[name].kind for name in matched_auxiliaries(config.steps))})
    return num_steps(round(num_training * config.train_fraction) * kinds, stage_epochs(config, stage.position), config.global_batch)


def extents_of(plan: Plan, num_training: int, num_scored: int) -> dict[str, Extent]:
    """Work of every unit of a plan, by id."""
    return {unit.id: extent(unit, num_training, num_scored) for unit in plan.units}


def duration(seconds: float) -> str:
    """Seconds as text, such as `about 3 min`."""
    return (
        f"{seconds / 3600:.1f} h"
        if seconds > 5400
        else f"{seconds / 60:.0f} min"
        if seconds > 90
        else f"{max(10, round(seconds, -1)):.0f} s"
    )
