"""The items of every optimizer step of a stage, determined by hashes.

Each instruction type ("kind") is an endless stream of per-epoch permutations; a step consists of blocks of `block` items of
one kind; the order of blocks is a deterministic apportionment by the mixture. Any step can be computed without the previous
steps, so a checkpoint does not need the state of the schedule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from omnimer_ray.config import Kind
from omnimer_ray.errors import ConfigError


class Item(NamedTuple):
    """One (clip, instruction) pair with its supervised answer."""

    clip: str
    kind: Kind
    answer: str
    weight: float = 1.0  # in the loss average
    given: str | None = None  # gold sentiment in the prompt when an auxiliary answer is requested again


@dataclass(frozen=True)
class Schedule:
    """All items of a stage and their order. `items` maps each kind to its items in corpus order."""

    items: Mapping[Kind, tuple[Item, ...]]
    epochs: float
    global_batch: int
    block: int
    seed: int
    stage_position: int = 0  # 0 for the first stage of a run
    mixture: Mapping[Kind, float] | None = None  # None: by item counts
    balanced: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)  # label of each item of a kind whose labels are drawn in turn
    steps: int | None = None  # None: from epochs
    first_step: int = 0  # of this stage on the learning-rate curve
    all_steps: int | None = None  # of that curve; None: the stage has its own

    def __post_init__(self) -> None:
        if empty := sorted(kind for kind, items in self.items.items() if not items):
            raise ConfigError(f"no training items for {', '.join(empty)}; every one was rejected or has no label: leave it out of the run")
        if self.steps is None:
            check_steps(self.num_items, self.epochs, self.global_batch)

    @property
    def num_items(self) -> int:
        """Number of items of one epoch, over all kinds."""
        return sum(len(items) for items in self.items.values())

    @property
    def num_steps(self) -> int:
        """Number of optimizer steps of the stage: floor(items x epochs / global batch), unless it is given."""
        return num_steps(self.num_items, self.epochs, self.global_batch) if self.steps is None else self.steps

    @property
    def seen_items(self) -> dict[Kind, int]:
        """Number of items of each kind that the stage is trained on, repeats included."""
        return {kind: self._order.count(kind) * self.block for kind in self.items}

    def step(self, index: int) -> list[tuple[Item, ...]]:
        """Blocks of step `index`, counted from 0."""
        per_step = self.global_batch // self.block
        positions = range(index * per_step, (index + 1) * per_step)
        return [
            self._take(self._order[position], self._order[:position].count(self._order[position]) * self.block) for position in positions
        ]

    def from_step(self, start: int) -> Iterator[list[tuple[Item, ...]]]:
        """Steps from `start` to the end of the stage."""
        return (self.step(index) for index in range(start, self.num_steps))

    @cached_property
    def _order(self) -> tuple[Kind, ...]:
        """Kind of each block of the stage: the kind furthest behind its share is next; ties are broken by the order of `items`."""
        weights = self.mixture or {kind: float(len(items)) for kind, items in self.items.items()}
        total = sum(weights.values())
        counts = dict.fromkeys(self.items, 0)
        order: list[Kind] = []
        for position in range(self.num_steps * self.global_batch // self.block):
            kind = max(counts, key=lambda name: weights[name] / total * (position + 1) - counts[name])
            counts[kind] += 1
            order.append(kind)
        return tuple(order)

    def _take(self, kind: Kind, start: int) -> tuple[Item, ...]:
        """Return `block` consecutive items of a kind's stream; a block may cross from one epoch's permutation into the next.

        With balanced labels each label has a stream of its own, and the kind's stream takes from them in turn.
        """
        items = self.items[kind]
        if kind in self.balanced:
            return tuple(self._balanced(kind, place) for place in range(start, start + self.block))
        taken: list[Item] = []
        while len(taken) < self.block:
            epoch, offset = divmod(start + len(taken), len(items))
            taken += self._permuted(kind, epoch, items)[offset : offset + self.block - len(taken)]
        return tuple(taken)

    def _balanced(self, kind: Kind, place: int) -> Item:
        labels = self.balanced[kind]
        names = sorted(set(labels))
        turn, number = divmod(place, len(names))
        items = [item for item, label in zip(self.items[kind], labels, strict=True) if label == names[number]]
        epoch, offset = divmod(turn, len(items))
        return self._permuted(kind, epoch, items)[offset]

    def _permuted(self, kind: Kind, epoch: int, items: Sequence[Item]) -> list[Item]:
        def rank(item: Item) -> bytes:
            label = kind if item.given is None else f"{kind}, given"
            return hashlib.sha256(f"{self.seed}|{self.stage_position}|{epoch}|{item.clip}|{label}".encode()).digest()

        return sorted(items, key=rank)


def num_steps(num_items: int, epochs: float, global_batch: int) -> int:
    """Return floor(items x epochs / global batch), robust to rounding errors in fractions of an epoch."""
    return int(num_items * epochs / global_batch + 1e-9)


def check_steps(num_items: int, epochs: float, global_batch: int) -> None:
    """Raise ConfigError if a stage would have no optimizer step."""
    if not num_steps(num_items, epochs, global_batch):
        raise ConfigError(
            f"{num_items} items x {epochs:g} epochs do not fill one global batch of {global_batch}; take more clips, more epochs or a smaller batch"
        )


def check_split(block: int, micro_batch: int, workers: int) -> None:
    """Raise ConfigError if a block cannot be split evenly into micro-batches over the workers."""
    if block % (micro_batch * workers):
        raise ConfigError(
            f"micro_batch {micro_batch} x workers {workers} does not divide block {block}; choose them in the machine profile so that it does"
        )


def fitting(micro_batch: int, block: int, workers: int) -> int:
    """A profile's micro-batch, or the whole of a worker's part of a block that is smaller."""
    return min(micro_batch, max(1, block // workers))


def micro_batches(block: tuple[Item, ...], micro_batch: int, rank: int, workers: int) -> Iterator[tuple[Item, ...]]:
    """Yield a worker's micro-batches of one block, so that all workers process the same kind at the same time."""
    check_split(len(block), micro_batch, workers)
    for start in range(0, len(block), micro_batch * workers):
        yield block[start + rank * micro_batch : start + (rank + 1) * micro_batch]
