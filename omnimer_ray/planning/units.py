"""The parts of a plan: stages, runs, and the four types of work unit that Ray Tune hands out.

A unit is a part of the supervision ledger, a feature of all clips, a stage that several runs continue, or a run: its last stage and its evaluation.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from omnimer_ray.config import Kind, RunConfig, ThinkerConfig
from omnimer_ray.feature_config import Feature
from omnimer_ray.records import read_record


class LedgerPart(NamedTuple):
    """One instruction's auxiliary answers, for one value of all settings that they depend on."""

    key: str
    kind: Kind
    config: ThinkerConfig  # of a run that needs it, over all its folds
    shards: int = 1  # units that build it side by side


class Stage(NamedTuple):
    """A part of training with one item distribution."""

    key: str
    config: RunConfig  # of the first run that needs it; runs that share the stage are equal in all that the key hashes
    kinds: tuple[Kind, ...]
    position: int  # 0 for the first stage of a run
    predecessor: str | None
    parts: tuple[LedgerPart, ...] = ()  # of the supervision ledger, one for each auxiliary kind
    features: tuple[Feature, ...] = ()  # that its model reads


class Run(NamedTuple):
    """A chain of stages with its evaluation."""

    signature: str
    config: RunConfig
    stages: tuple[Stage, ...]


class LedgerUnit(NamedTuple):
    """Builds one shard of a part of the ledger; it has no record, the entries are its result."""

    part: LedgerPart
    title: str  # to print
    shard: int = 0

    @property
    def id(self) -> str:
        """Id, unique in a plan."""
        return ledger_ids(self.part)[self.shard]

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the units that must be done first."""
        return ()

    @property
    def config(self) -> ThinkerConfig:
        """Settings of the unit."""
        return self.part.config


class FeatureUnit(NamedTuple):
    """Computes a feature of all clips; it has no record, the entries are its result."""

    feature: Feature
    config: RunConfig  # of a run that needs it
    title: str

    @property
    def id(self) -> str:
        """Id, unique in a plan."""
        return feature_id(self.feature)

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the units that must be done first."""
        return ()


class StageUnit(NamedTuple):
    """Trains a stage that is not the last one of every run with it."""

    stage: Stage
    title: str

    @property
    def id(self) -> str:
        """Id, unique in a plan."""
        return stage_id(self.stage.key)

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the units that must be done first."""
        return stage_needs(self.stage)

    @property
    def config(self) -> RunConfig:
        """Settings of the unit."""
        return self.stage.config


class RunUnit(NamedTuple):
    """Trains a run's last stage, unless another unit does, and evaluates the run. A zero-shot run is an evaluation alone."""

    run: Run
    title: str
    trained_by: str | None = None  # the other unit that trains the last stage

    @property
    def id(self) -> str:
        """Id, unique in a plan."""
        return f"run-{self.run.signature}"

    @property
    def stage(self) -> Stage | None:
        """The last stage."""
        return self.run.stages[-1] if self.run.stages else None

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the units that must be done first."""
        earlier = tuple(stage_id(stage.key) for stage in self.run.stages[:-1])
        if self.trained_by is not None:
            return tuple(dict.fromkeys((self.trained_by, *earlier)))
        return tuple(dict.fromkeys((*stage_needs(self.stage), *earlier))) if self.stage is not None else ()

    @property
    def config(self) -> RunConfig:
        """Settings of the unit."""
        return self.run.config


PartUnit = LedgerUnit | FeatureUnit  # without a record
Unit = PartUnit | StageUnit | RunUnit


def ledger_ids(part: LedgerPart) -> tuple[str, ...]:
    """Ids of the units that build a part of the ledger, one of each shard."""
    name = f"ledger-{part.key}-{part.kind}"
    return tuple(f"{name}-{shard + 1}of{part.shards}" for shard in range(part.shards)) if part.shards > 1 else (name,)


def feature_id(feature: Feature) -> str:
    """Id of the unit that computes a feature."""
    return f"feature-{feature.key}"


def stage_id(key: str) -> str:
    """Id of the unit that trains a shared stage."""
    return f"stage-{key}"


def stage_needs(stage: Stage) -> tuple[str, ...]:
    """Ids of the units whose results a stage is trained on."""
    ledgers = [name for part in stage.parts for name in ledger_ids(part)]
    features = [feature_id(feature) for feature in stage.features]
    return (*ledgers, *features, *((stage_id(stage.predecessor),) if stage.predecessor else ()))


def trained_stage(unit: Unit) -> Stage | None:
    """The stage that a unit trains itself."""
    match unit:
        case StageUnit():
            return unit.stage
        case RunUnit():
            return unit.stage if unit.trained_by is None else None
        case LedgerUnit() | FeatureUnit():
            return None


def record_folder(unit: StageUnit | RunUnit, folder: Path) -> Path:
    """Folder of a unit's record inside a results folder."""
    match unit:
        case RunUnit():
            return folder / "runs" / unit.run.signature
        case StageUnit():
            return folder / "stages" / unit.stage.key


def recorded_outcome(unit: StageUnit | RunUnit, folder: Path) -> str | None:
    """The outcome in a unit's record ('done', or how it failed); None without a record."""
    record = read_record(record_folder(unit, folder))
    return str(record["outcome"]) if record else None
