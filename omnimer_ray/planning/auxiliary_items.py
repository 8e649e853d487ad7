"""Items of an auxiliary task: which clips have one, and with which answer. Both can be changed to find out what in them helps.

Subsets and permutations come from hashes of (seed, instruction, clip): they do not depend on the order of clips or on workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from omnimer_ray.config import AUXILIARY_OF, Kind, ThinkerConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ConfigError
from omnimer_ray.tasks.instructions import Style, label_answer
from omnimer_ray.training.schedule import Item

POOLS = ("agreed", "constrained")  # of accepted answers, by how they were made
Entries = Mapping[str, Mapping[str, Any]]  # a ledger part by clip


def auxiliary_items(kind: Kind, clips: Sequence[Clip], entries: Entries, config: ThinkerConfig) -> tuple[Item, ...]:
    """Items of one auxiliary in corpus order; `clips` are training clips with the modality's label, `entries` empty without a ledger."""
    chosen = _chosen(kind, clips, entries, config)
    answers = {clip.id: str(entries[clip.id]["answer"]) for clip in chosen} if entries else {}
    match config.auxiliary_answers:
        case "full":
            pass
        case "label":
            answers = {clip.id: label_answer(_gold(clip, kind), Style.of(config)) for clip in chosen}
        case "shuffled":
            for label in sorted({_gold(clip, kind) for clip in chosen}):
                answers |= _rotated(answers, [clip.id for clip in chosen if _gold(clip, kind) == label], kind, config.seed)
        case "placebo":
            answers = _rotated(answers, [clip.id for clip in chosen], kind, config.seed)
        case unknown:
            assert_never(unknown)
    return tuple(Item(clip.id, kind, answers[clip.id]) for clip in chosen)


def _chosen(kind: Kind, clips: Sequence[Clip], entries: Entries, config: ThinkerConfig) -> list[Clip]:
    """Clips with an item, in corpus order."""
    match config.auxiliary_clips:
        case "labelled":
            return list(clips)
        case "accepted":
            return [clip for clip in clips if entries[clip.id]["answer"] is not None]
        case "agreed" | "constrained" as pool:
            return _subset(kind, clips, entries, config, pools=(pool,))
        case "mixed":
            return _subset(kind, clips, entries, config, pools=POOLS)
        case unknown:
            assert_never(unknown)


def _subset(kind: Kind, clips: Sequence[Clip], entries: Entries, config: ThinkerConfig, pools: Sequence[str]) -> list[Clip]:
    """As many clips of the pools as the smaller pool has. Raises ConfigError if that is none."""
    sizes = [sum(entries[clip.id]["made"] == pool for clip in clips) for pool in POOLS]
    if not min(sizes):
        raise ConfigError(
            f"auxiliary_clips {config.auxiliary_clips!r}: {kind} has {sizes[0]} agreed and {sizes[1]} constrained answers, and subsets of "
            "equal size would be empty; leave this auxiliary out of the run, or use 'accepted'"
        )
    drawn = sorted((clip.id for clip in clips if entries[clip.id]["made"] in pools), key=lambda clip: _rank(clip, kind, config.seed))
    kept = set(drawn[: min(sizes)])
    return [clip for clip in clips if clip.id in kept]


def _rotated(answers: Mapping[str, str], clips: Sequence[str], kind: Kind, seed: int) -> dict[str, str]:
    """The answers of `clips`, each moved to another clip: in the order of a hash, every clip gets the next one's."""
    order = sorted(clips, key=lambda clip: _rank(clip, kind, seed))
    return {clip: answers[other] for clip, other in zip(order, order[1:] + order[:1], strict=True)}


def _rank(clip: str, kind: Kind, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}|{kind}|{clip}".encode()).digest()


def _gold(clip: Clip, kind: Kind) -> str:
    return str(clip.modality_sentiment(AUXILIARY_OF[kind].modality))
