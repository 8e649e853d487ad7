"""A search space -> runs -> stages: what is recorded and what would start. Needs neither torch nor ray.

A run is a chain of stages (hybrid: one; multi_stage: two; Base: one; zero-shot: none) and an evaluation. A stage's key hashes
everything that determines its adapter, its predecessor's key included, so runs that share a stage find it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.config import AUXILIARY_KIND, RECIPE_VERSION, Kind, RunConfig, changed, content_hash, flat, resolve
from omnimer_ray.errors import ConfigError, joined
from omnimer_ray.instructions import PROMPTS_HASH
from omnimer_ray.results import read_record
from omnimer_ray.supervision import ledger_key

EVERYWHERE = (
    "corpus",
    "base",
    "method",
    "lora",
    "media",
    "optimizer",
    "epochs",
    "loss_average",
    "global_batch",
    "block",
    "answer_language",
    "seed",
)


class Stage(NamedTuple):
    """A part of training with one item distribution."""

    key: str
    config: RunConfig  # of the first run that asked for it; runs that share the stage agree in all that the key hashes
    kinds: tuple[Kind, ...]
    position: int  # 0 for the first stage of a run
    predecessor: str | None


class Run(NamedTuple):
    """A chain of stages with its evaluation."""

    signature: str
    config: RunConfig
    stages: tuple[Stage, ...]


class Row(NamedTuple):
    """Where a run stands in the tables."""

    variant: str
    task: str
    seed: int | None  # None: the run has no randomness
    fold: int | None
    signature: str


class LedgerPart(NamedTuple):
    """One instruction's auxiliary answers under one setting of all that determines them."""

    key: str  # of the ledger: runs whose base sees or writes something else have another one
    kind: Kind
    config: RunConfig  # of a run that needs it, over all its folds


class Unit(NamedTuple):
    """A unit of work: a part of the ledger, or one stage with its run's evaluation, or an evaluation alone."""

    id: str  # 'ledger-<key>-<kind>', 'stage-<key>' or 'run-<signature>'
    needs: tuple[str, ...]  # units that must be recorded first
    stage: Stage | None
    run: Run | None
    ledger: LedgerPart | None
    title: str  # for people

    @property
    def trains(self) -> bool:
        """Whether it trains its stage itself, not the run before it that ends with the same stage."""
        return self.stage is not None and not any(need.startswith("run-") for need in self.needs)


@dataclass(frozen=True)
class SearchSpace:
    """One question: a bound baseline and named deltas on it; the names are the row names of its table."""

    baseline: RunConfig
    variants: Mapping[str, dict[str, Any]]
    tasks: tuple[str, ...] = ("sentiment", "emotion")
    seeds: tuple[int, ...] = (0,)
    grid: bool = False  # generated variants: equal ones are merged, and the plan says so; explicit ones must differ

    def with_seeds(self, seeds: tuple[int, ...]) -> SearchSpace:
        """The same question with other seeds."""
        return replace(self, seeds=seeds)


@dataclass(frozen=True)
class Plan:
    """All rows of a space's tables, the runs behind them and the units of work they come to."""

    space: SearchSpace
    rows: tuple[Row, ...]
    runs: dict[str, Run]
    merged: tuple[str, ...] = ()  # generated variants that mean a run which stands under another name

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every stage once."""
        return {stage.key: stage for run in self.runs.values() for stage in run.stages}

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """Every unit of work, a predecessor always before what needs it, shared stages first."""
        parts = {_ledger_id(part): part for stage in self.stages.values() for part in _ledger_parts(stage)}
        several = len({part.key for part in parts.values()}) > 1
        ledgers = [
            Unit(name, (), None, None, part, f"supervision: {part.kind}" + f", ledger {part.key[:6]}" * several)
            for name, part in parts.items()
        ]
        first: dict[str, Unit] = {}  # stages that several runs continue
        last: dict[str, Unit] = {}
        owner: dict[str, str] = {}  # last stage -> the unit that trains it
        for run in self.runs.values():
            for stage in run.stages[:-1]:
                first.setdefault(f"stage-{stage.key}", _stage_unit(stage))
            unit = _run_unit(run, owner.get(run.stages[-1].key) if run.stages else None, self._title(run))
            last[unit.id] = unit
            if run.stages:
                owner.setdefault(run.stages[-1].key, unit.id)
        return (*ledgers, *first.values(), *last.values())

    def num_shared(self) -> int:
        """Stages that more than one run uses."""
        users = [stage.key for run in self.runs.values() for stage in run.stages]
        return sum(users.count(key) > 1 for key in self.stages)

    def _title(self, run: Run) -> str:
        row = next(row for row in self.rows if row.signature == run.signature)
        fold = "" if row.fold is None else f", fold {row.fold}"
        return f"{row.variant} / {row.task}" + ("" if row.seed is None else f", seed {row.seed}") + fold


def make_plan(space: SearchSpace, folds: int | None = None) -> Plan:
    """Every variant x task x seed x fold. Raises ConfigError for a variant equal to another, or a misspelt field; all at once."""
    if empty := [name for name in ("variants", "tasks", "seeds") if not getattr(space, name)]:
        raise ConfigError(f"the search space has no {' and no '.join(empty)}; it needs at least one of each: variants, tasks, seeds")
    rows: list[Row] = []
    runs: dict[str, Run] = {}
    names: dict[str, str] = {}
    merged: list[str] = []
    faults: list[str] = []
    for variant, delta in space.variants.items():
        try:
            configs = _configs(space, delta, folds)
        except ConfigError as error:
            faults.append(f"variant {variant!r}: {error}")
            continue
        for config in configs:
            run = make_run(config)
            other = names.setdefault(run.signature, variant)
            if other != variant:
                (merged if space.grid else faults).append(f"variant {variant!r} is the same run as {other!r}")
                continue
            runs[run.signature] = run
            seed = config.seed if config.training else None
            row = Row(variant, config.task, seed, config.corpus.fold, run.signature)
            if row not in rows:
                rows.append(row)
    if faults:
        raise ConfigError(joined(dict.fromkeys(faults)))
    return Plan(space, tuple(rows), runs, tuple(dict.fromkeys(merged)))


def make_run(config: RunConfig) -> Run:
    """The run of a config, in canonical form, with its stages."""
    config = resolve(config)
    identity = {"recipe": RECIPE_VERSION, "prompts": PROMPTS_HASH, "config": config.model_dump()}
    return Run(content_hash(identity), config, _stages(config))


def place(unit: Unit, folder: Path) -> Path:
    """Where a unit's record stands; a part of the ledger has none."""
    if unit.run is not None:
        return folder / "runs" / unit.run.signature
    assert unit.stage is not None
    return folder / "stages" / unit.stage.key


def outcome(unit: Unit, folder: Path) -> str | None:
    """What a unit's record says ('done', or how it failed), or None while there is none."""
    record = read_record(place(unit, folder))
    return str(record["outcome"]) if record else None


def _configs(space: SearchSpace, delta: dict[str, Any], folds: int | None) -> list[RunConfig]:
    if not isinstance(delta, dict):
        raise ConfigError(f"a dict of changed fields is needed, not {type(delta).__name__}")
    for name in flat(delta):
        if name.split(".")[0] == "corpus" or name in ("base", "base.name", "base.revision"):
            raise ConfigError(f"{name!r} is chosen on the command line, not in a search space")
    configs = []
    for task in space.tasks:
        for seed in space.seeds:
            for fold in range(folds) if folds else (None,):
                config = changed(space.baseline, {"task": task, "seed": seed, "corpus.folds": folds, "corpus.fold": fold, **delta})
                configs.append(resolve(config))
    return configs


def _stages(config: RunConfig) -> tuple[Stage, ...]:
    if not config.training:
        return ()
    auxiliary: tuple[Kind, ...] = tuple(
        AUXILIARY_KIND[modality] for modality in ("text", "video", "audio") if modality in config.auxiliaries
    )
    main: tuple[Kind, ...] = (config.task,)
    parts = [auxiliary, main] if config.schedule == "multi_stage" else [main + auxiliary]
    stages: list[Stage] = []
    for position, kinds in enumerate(parts):
        predecessor = stages[-1].key if stages else None
        stages.append(Stage(_stage_key(config, kinds, position, predecessor), config, kinds, position, predecessor))
    return tuple(stages)


def settings_of(config: RunConfig, kinds: tuple[Kind, ...]) -> dict[str, Any]:
    """The settings that a stage of these kinds depends on: an auxiliary stage does not know the main task."""
    data = config.model_dump()
    settings = {name: data[name] for name in EVERYWHERE}
    if config.task in kinds:
        settings.update(hierarchy=data["hierarchy"], class_balance=data["class_balance"])
    if set(kinds) - {config.task}:
        settings["supervision"] = data["supervision"]
    if config.mixture and len(kinds) > 1:
        settings["mixture"] = {kind: config.mixture[kind] for kind in kinds}
    return settings


def _stage_key(config: RunConfig, kinds: tuple[Kind, ...], position: int, predecessor: str | None) -> str:
    chain = {"kinds": kinds, "position": position, "predecessor": predecessor}
    return content_hash({"recipe": RECIPE_VERSION, "prompts": PROMPTS_HASH, **chain, **settings_of(config, kinds)})


def _ledger_parts(stage: Stage) -> list[LedgerPart]:
    config = stage.config.model_copy(update={"corpus": stage.config.corpus.model_copy(update={"fold": None, "development": None})})
    return [LedgerPart(ledger_key(config), kind, config) for kind in stage.kinds if kind in AUXILIARY_KIND.values()]


def _ledger_id(part: LedgerPart) -> str:
    return f"ledger-{part.key}-{part.kind}"


def _stage_unit(stage: Stage) -> Unit:
    return Unit(
        f"stage-{stage.key}",
        _needs(stage),
        stage,
        None,
        None,
        f"stage {stage.position + 1}: {', '.join(stage.kinds)}, seed {stage.config.seed}",
    )


def _run_unit(run: Run, owner: str | None, title: str) -> Unit:
    stage = run.stages[-1] if run.stages else None
    needs = (owner,) if owner else _needs(stage) if stage else ()
    return Unit(f"run-{run.signature}", needs, stage, run, None, title)


def _needs(stage: Stage) -> tuple[str, ...]:
    ledgers = tuple(_ledger_id(part) for part in _ledger_parts(stage))
    return ledgers + ((f"stage-{stage.predecessor}",) if stage.predecessor else ())
