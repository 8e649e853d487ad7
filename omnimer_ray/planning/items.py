"""A stage's training items and their order, from gold labels and from the supervision ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from omnimer_ray.config import AUXILIARIES, ClassBalance, Kind, content_hash, of_thinker, stage_epochs, stage_kinds
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import fraction_of, splits_of
from omnimer_ray.errors import ResultsError
from omnimer_ray.planning.auxiliary_items import auxiliary_items
from omnimer_ray.planning.plan import ledger_parts
from omnimer_ray.planning.units import LedgerUnit, Stage
from omnimer_ray.tasks.instructions import Style, main_answer
from omnimer_ray.tasks.supervision import TRAINED_ON, eligible, read_entries, shard_of
from omnimer_ray.training.schedule import Item, Schedule, num_steps


def make_schedule(stage: Stage, clips: Sequence[Clip], ledgers: Path) -> Schedule:
    """The stage's items: main ones from gold labels, auxiliary ones from the ledger; training clips only."""
    config = of_thinker(stage.config)
    style = Style.of(config)
    training = fraction_of([clip for clip in clips if clip.split == "train"], config)
    labelled = [clip for clip in training if clip.label(config.task) is not None]
    golds = tuple(str(clip.label(config.task)) for clip in labelled)
    keys = {part.kind: part.key for part in stage.parts}

    def items_of(kind: Kind) -> tuple[Item, ...]:
        if kind == config.task:
            weighted = zip(labelled, weights(golds, config.class_balance), strict=True)
            return tuple(Item(clip.id, kind, main_answer(clip, kind, style), weight) for clip, weight in weighted)
        entries = read_entries(ledgers / keys[kind], kind) if kind in keys else {}
        return auxiliary_items(kind, eligible(training, kind), entries, config)

    items: dict[Kind, tuple[Item, ...]] = {kind: items_of(kind) for kind in stage.kinds}
    mixture = {kind: config.mixture[kind] for kind in stage.kinds} if config.mixture and len(stage.kinds) > 1 else None
    balanced: dict[Kind, tuple[str, ...]] = {config.task: golds} if config.class_balance == "sampling" and config.task in items else {}
    epochs, steps = stage_epochs(config, stage.position), config.steps
    if isinstance(steps, tuple):  # as many as a hybrid run with these auxiliaries has
        others = [items_of(kind) for name in steps if (kind := AUXILIARIES[name].kind) not in items]
        steps = num_steps(sum(map(len, (*items.values(), *others))), epochs, config.global_batch)
    return Schedule(items, epochs, config.global_batch, config.block, config.seed, stage.position, mixture, balanced, steps)


def on_one_cosine(stage: Stage, schedule: Schedule, clips: Sequence[Clip], ledgers: Path) -> Schedule:
    """The stage's schedule with its place on the learning-rate curve over all stages of the run."""
    config = of_thinker(stage.config)
    steps = [
        make_schedule(stage._replace(kinds=kinds, position=position, parts=ledger_parts(config, kinds)), clips, ledgers).num_steps
        for position, kinds in enumerate(stage_kinds(config))
    ]
    return replace(schedule, first_step=sum(steps[: stage.position]), all_steps=sum(steps))


def unit_clips(unit: LedgerUnit, clips: Sequence[Clip]) -> list[Clip]:
    """The clips whose entries a unit builds: its shard, over all folds."""
    return [clip for clip in splits_of(unit.part.config, clips) if shard_of(clip.id, unit.part.shards) == unit.shard]


def ledger_hash(stage: Stage, clips: Sequence[Clip], ledgers: Path) -> str | None:
    """Hash of the ledger entries that a stage is trained on; None for a stage without auxiliaries. Raises ResultsError if one is missing."""
    hashed = []
    for part in stage.parts:
        entries = read_entries(ledgers / part.key, part.kind)
        wanted = eligible(clips, part.kind)
        if absent := [clip.id for clip in wanted if clip.id not in entries]:
            raise ResultsError(f"{ledgers / part.key} has no {part.kind} entry of clip {absent[0]}; the same command makes it again")
        hashed.append([{name: entries[clip.id][name] for name in TRAINED_ON if name in entries[clip.id]} for clip in wanted])
    return content_hash(hashed) if stage.parts else None


def weights(golds: Sequence[str], balance: ClassBalance) -> list[float]:
    """Weights of main items: 1, or the inverse of their class's share, so that every class weighs the same in an epoch."""
    match balance:
        case "none" | "sampling":
            return [1.0] * len(golds)
        case "inverse_frequency":
            return [len(golds) / (len(set(golds)) * golds.count(gold)) for gold in golds]
        case unknown:
            assert_never(unknown)
