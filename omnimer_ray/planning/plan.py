"""A search space -> runs -> stages -> units of work. Imports neither torch nor ray.

A run is a chain of stages (hybrid: one; multi_stage: two; Base: one; zero-shot: none) and an evaluation. A stage's key hashes
everything that determines its adapter, its predecessor's key included, so runs that share a stage find it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from omnimer_ray.config import (
    AUXILIARIES,
    AUXILIARY_OF,
    Kind,
    RunConfig,
    ThinkerConfig,
    changed,
    flat,
    matched_auxiliaries,
    resolve,
    stage_kinds,
)
from omnimer_ray.errors import ConfigError, joined, near
from omnimer_ray.feature_config import Feature, encoder_name
from omnimer_ray.fusion_config import FusionConfig, LateFusionConfig
from omnimer_ray.planning.fusion import fusion_run, late_run
from omnimer_ray.planning.identity import ledger_key, run_signature, stage_key
from omnimer_ray.planning.space import SearchSpace
from omnimer_ray.planning.units import FeatureUnit, LedgerPart, LedgerUnit, Run, RunUnit, Stage, StageUnit, Unit

Part = Literal["supervision", "features"]  # of what runs need, that may be built alone
BASELINE = "Base"  # the usual name of the row without auxiliaries


class Row(NamedTuple):
    """The place of a run in the tables."""

    variant: str
    task: str
    seed: int | None  # None: the run has no randomness
    fold: int | None
    signature: str


@dataclass(frozen=True)
class Plan:
    """All rows of a space's tables, their runs, and the units of work."""

    space: SearchSpace
    rows: tuple[Row, ...]
    runs: dict[str, Run]
    merged: tuple[str, ...] = ()  # generated variants whose run has another name already
    only: Part | None = None  # the units build this part that the runs need, and no more

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """All stages by key, each once."""
        return {stage.key: stage for run in self.runs.values() for stage in run.stages}

    @property
    def thinkers(self) -> tuple[ThinkerConfig, ...]:
        """Configs of the runs of the Thinker."""
        return tuple(run.config for run in self.runs.values() if isinstance(run.config, ThinkerConfig))

    @cached_property
    def features(self) -> dict[Feature, RunConfig]:
        """The features that stages read, each with the config of a stage that does."""
        found: dict[Feature, RunConfig] = {}
        for stage in self.stages.values():
            for feature in stage.features:
                found.setdefault(feature, stage.config)
        return found

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units of work: ledgers and features, then for each seed shared stages and runs; a unit comes after those that it needs.

        So the first seed's table is complete before another seed's runs start.
        """
        parts: dict[str, LedgerPart] = {}
        shared: dict[str, StageUnit] = {}  # stages that some run continues
        for run in self.runs.values():
            for stage in run.stages:
                for part in stage.parts:
                    parts.setdefault(part.key, part)
            for stage in run.stages[:-1]:
                shared.setdefault(stage.key, StageUnit(stage, _stage_title(stage)))
        several = len(parts) > len({part.kind for part in parts.values()})
        ledgers = [LedgerUnit(part, _ledger_title(part, shard, several), shard) for part in parts.values() for shard in range(part.shards)]
        features = [FeatureUnit(feature, config, _feature_title(feature)) for feature, config in self.features.items()]
        if self.only is not None:
            return tuple(ledgers if self.only == "supervision" else features)
        trained_by = {key: unit.id for key, unit in shared.items()}
        runs = []
        for run in self.runs.values():
            last = run.stages[-1].key if run.stages else ""
            runs.append(RunUnit(run, self._title(run), trained_by.get(last)))
            if run.stages:
                trained_by.setdefault(last, runs[-1].id)
        trained: list[StageUnit | RunUnit] = [*shared.values(), *runs]
        return (*ledgers, *features, *sorted(trained, key=lambda unit: self._seed_order(unit.config.seed)))

    def _seed_order(self, seed: int) -> int:
        return self.space.seeds.index(seed) if seed in self.space.seeds else 0

    @cached_property
    def reference(self) -> str:
        """The row that the others are compared with."""
        names = list(dict.fromkeys(row.variant for row in self.rows))
        return self.space.reference or (BASELINE if BASELINE in names else names[0])

    @cached_property
    def contrasts(self) -> tuple[tuple[str, str], ...]:
        """The comparisons to register: the space's own, or every trained row against the reference."""
        trained = dict.fromkeys(row.variant for row in self.rows if row.seed is not None)
        chosen = self.space.contrasts or tuple((name, self.reference) for name in trained if name != self.reference)
        return tuple((one, other) for one, other in chosen if {one, other} <= trained.keys())

    def num_shared(self) -> int:
        """Number of stages that more than one run uses."""
        users = [stage.key for run in self.runs.values() for stage in run.stages]
        return sum(users.count(key) > 1 for key in self.stages)

    def _title(self, run: Run) -> str:
        row = next(row for row in self.rows if row.signature == run.signature)
        return f"{row.variant} / {row.task}" + ("" if row.seed is None else f", seed {row.seed}") + _fold_title(run.config)


def make_plan(space: SearchSpace, folds: int | None = None, ledger_shards: int = 1) -> Plan:
    """Plan every variant x task x seed x fold. Raises one ConfigError for all variants that equal another one or have an unknown field."""
    if empty := [name for name in ("variants", "tasks", "seeds") if not getattr(space, name)]:
        raise ConfigError(f"the search space has no {' and no '.join(empty)}; it needs at least one of each: variants, tasks, seeds")
    named = {
        "a note on": set(space.notes),
        "a contrast of": {name for pair in space.contrasts or () for name in pair},
        "the reference": {space.reference} if space.reference else set(),
    }
    for what, found in named.items():
        if unknown := sorted(found - set(space.variants)):
            raise ConfigError(f"the search space has {what} {unknown[0]!r}; {near(unknown[0], space.variants)}")
    rows: list[Row] = []
    runs: dict[str, Run] = {}
    names: dict[str, str] = {}
    merged: list[str] = []
    faults: list[str] = []
    for variant, delta in space.variants.items():
        try:
            made = [make_run(config, ledger_shards) for config in _configs(space, delta, folds)]
        except ConfigError as error:
            faults.append(f"variant {variant!r}: {error}")
            continue
        for run in made:
            config = run.config
            other = names.setdefault(run.signature, variant)
            if other != variant:
                (merged if space.grid else faults).append(f"variant {variant!r} is the same run as {other!r}")
                continue
            runs[run.signature] = run
            seed = config.seed if config.seeded else None
            row = Row(variant, config.task, seed, config.corpus.fold, run.signature)
            if row not in rows:
                rows.append(row)
    if faults:
        raise ConfigError(joined(dict.fromkeys(faults)))
    return Plan(space, tuple(rows), runs, tuple(dict.fromkeys(merged)))


def make_run(config: RunConfig, ledger_shards: int = 1) -> Run:
    """Make the run of a config, in canonical form, with its stages: the planning half of each method."""
    match config:
        case ThinkerConfig():
            return _thinker_run(config, ledger_shards)
        case FusionConfig():
            return fusion_run(config)
        case LateFusionConfig():
            return late_run(config)
        case _:
            raise ConfigError(f"method {config.method!r} is not known; known: 'thinker', 'fusion', 'late_fusion'")


def _configs(space: SearchSpace, variant: dict[str, Any] | RunConfig, folds: int | None) -> list[RunConfig]:
    """The configs of a variant: the baseline with changes, or another method's as they are."""
    start, delta = (variant, {}) if isinstance(variant, RunConfig) else (space.baseline, variant)
    if not isinstance(delta, dict):
        raise ConfigError(f"a dict of changed fields, or a config of another method, is needed, not {type(delta).__name__}")
    for name in flat(delta):
        if name.split(".")[0] == "corpus" or name in ("base", "base.name", "base.revision"):
            raise ConfigError(f"{name!r} is chosen on the command line, not in a search space")
    configs = []
    for task in space.tasks:
        for seed in space.seeds:
            for fold in range(folds) if folds else (None,):
                configs.append(changed(start, {"task": task, "seed": seed, "corpus.folds": folds, "corpus.fold": fold, **delta}))
    return configs


def _thinker_run(config: ThinkerConfig, ledger_shards: int) -> Run:
    config = resolve(config)
    stages: list[Stage] = []
    for position, kinds in enumerate(stage_kinds(config) if config.training else ()):
        predecessor = stages[-1].key if stages else None
        matched = [AUXILIARIES[name].kind for name in matched_auxiliaries(config.steps)]
        parts_needed = ledger_parts(config, (*kinds, *(kind for kind in matched if kind not in kinds)), ledger_shards)
        key = stage_key(config, kinds, position, predecessor, [part.key for part in parts_needed])
        stages.append(Stage(key, config, kinds, position, predecessor, parts_needed))
    return Run(run_signature(config, [stage.key for stage in stages]), config, tuple(stages))


def ledger_parts(config: ThinkerConfig, kinds: tuple[Kind, ...], shards: int = 1) -> tuple[LedgerPart, ...]:
    """The supervision that auxiliary items are made from; the answers are built in full, whatever a run takes from them."""
    if config.auxiliary_clips == "labelled":
        return ()
    corpus = config.corpus.model_copy(update={"fold": None, "development": None})
    pooled = config.model_copy(update={"corpus": corpus, "auxiliary_answers": "full", "auxiliary_clips": "accepted"})
    return tuple(LedgerPart(ledger_key(pooled, kind), kind, pooled, shards) for kind in kinds if kind in AUXILIARY_OF)


def _fold_title(config: RunConfig) -> str:
    return "" if config.corpus.fold is None else f", fold {config.corpus.fold}"


def _ledger_title(part: LedgerPart, shard: int, several: bool) -> str:
    return (
        f"supervision: {part.kind}"
        + (f", ledger {part.key[:6]}" if several else "")
        + (f", shard {shard + 1} of {part.shards}" if part.shards > 1 else "")
    )


def _feature_title(feature: Feature) -> str:
    return f"features: {encoder_name(feature)} on {feature.view}, {feature.key[:6]}"


def _stage_title(stage: Stage) -> str:
    if isinstance(stage.config, FusionConfig):
        read = ", ".join(stage.config.modalities)
        return f"network: {stage.config.network.name} on {read} / {stage.config.task}, seed {stage.config.seed}" + _fold_title(stage.config)
    return f"stage {stage.position + 1}: {', '.join(stage.kinds)}, seed {stage.config.seed}"
