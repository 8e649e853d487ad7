"""Items of a step -> a micro-batch as tensors: what the loop asks of the model that it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from omnimer_ray.corpora.clips import Clip
from omnimer_ray.model.inputs import IGNORED, Encoder, collate, labels
from omnimer_ray.training.placement import Placement
from omnimer_ray.training.schedule import Item


class Batch(NamedTuple):
    """A micro-batch of B items on the device."""

    inputs: Any  # of the module that returns the loss of each item
    targets: torch.Tensor  # its second argument
    num_tokens: torch.Tensor  # (B,), that the loss of an item is a sum over
    recompute: bool | None = None  # layers compute their activations again in the backward pass; None: the module has no such layers


class Feed(Protocol):
    """Makes micro-batches."""

    def batch(self, items: Sequence[Item]) -> Batch:
        """Items of one kind as tensors."""

    def num_tokens(self, item: Item) -> int:
        """Number of tokens that an item's loss is a sum over."""


class PromptFeed(NamedTuple):
    """Items of the Thinker: prompts with media, and answers."""

    encoder: Encoder
    clips: Mapping[str, Clip]
    placement: Placement

    def batch(self, items: Sequence[Item]) -> Batch:
        """As `collate`, padded on the right; targets (B, L) as `labels`."""
        encoded = [self.encoder.encode(self.clips[item.clip], item.kind, item.answer, item.given) for item in items]
        targets, rule = labels(encoded).to(self.placement.device), self.placement.recompute
        recompute = None if rule is None else rule(targets.shape[1], max(item.num_audio_tokens for item in encoded))
        inputs = collate(encoded, self.encoder.tokenizer.pad_token_id, "right", self.placement.device)
        return Batch(inputs, targets, (targets != IGNORED).sum(1), recompute)

    def num_tokens(self, item: Item) -> int:
        """Supervised tokens of the answer."""
        return self.encoder.num_answer_tokens(item.answer)
