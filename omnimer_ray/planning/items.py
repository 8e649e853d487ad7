"""A stage's training items and their order, from gold labels and from the supervision ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from omnimer_ray.config import ClassBalance, Kind, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import fraction_of, splits_of
from omnimer_ray.errors import ResultsError
from omnimer_ray.planning.auxiliary_items import auxiliary_items
from omnimer_ray.planning.units import LedgerUnit, Stage
from omnimer_ray.tasks.instructions import Style, main_answer
from omnimer_ray.tasks.supervision import TRAINED_ON, eligible, read_entries, shard_of
from omnimer_ray.training.schedule import Item, Schedule


def make_schedule(stage: Stage, clips: Sequence[Clip], ledgers: Path) -> Schedule:
    """The stage's items: main ones from gold labels, auxiliary ones from the ledger; training clips only."""
    config, style = stage.config, Style.of(stage.config)
    training = fraction_of([clip for clip in clips if clip.split == "train"], config)
    keys = {part.kind: part.key for part in stage.parts}
    items: dict[Kind, tuple[Item, ...]] = {}
    for kind in stage.kinds:
        if kind == config.task:
            labelled = [clip for clip in training if clip.label(kind) is not None]
            weights = _weights([str(clip.label(kind)) for clip in labelled], config.class_balance)
            items[kind] = tuple(Item(c.id, kind, main_answer(c, kind, style), w) for c, w in zip(labelled, weights, strict=True))
        else:
            entries = read_entries(ledgers / keys[kind], kind) if kind in keys else {}
            items[kind] = auxiliary_items(kind, eligible(training, kind), entries, config)
    mixture = {kind: config.mixture[kind] for kind in stage.kinds} if config.mixture and len(stage.kinds) > 1 else None
    return Schedule(items, config.epochs, config.global_batch, config.block, config.seed, stage.position, mixture)


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


def _weights(golds: Sequence[str], balance: ClassBalance) -> list[float]:
    """Weights of main items: 1, or the inverse of their class's share, so that every class weighs the same in an epoch."""
    match balance:
        case "none":
            return [1.0] * len(golds)
        case "inverse_frequency":
            return [len(golds) / (len(set(golds)) * golds.count(gold)) for gold in golds]
        case unknown:
            assert_never(unknown)
