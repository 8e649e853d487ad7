"""Padded feature sequences of a batch, one of each modality, and what the networks do with time.

Shapes: B items, T steps of the longest item, D values of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from omnimer_ray.config import Modality


class Sequences(NamedTuple):
    """A modality of a batch; steps from an item's length on are zero, and so is all of an item whose modality is hidden."""

    values: torch.Tensor  # (B, T, D)
    lengths: torch.Tensor  # (B,) long, 1 or more
    present: torch.Tensor  # (B, 1), 0 where the modality is hidden, else 1

    @property
    def mask(self) -> torch.Tensor:
        """(B, T), True at steps of the item."""
        return torch.arange(self.values.shape[1], device=self.values.device) < self.lengths[:, None]

    def mean(self) -> torch.Tensor:
        """Mean over the item's own steps, (B, D)."""
        return self.values.sum(1) / self.lengths[:, None]


Inputs = Mapping[Modality, Sequences]


def shortened(sequence: torch.Tensor, num_steps: int) -> torch.Tensor:
    """A sequence (T, D) averaged over equal spans to at most `num_steps` steps."""
    return sequence if len(sequence) <= num_steps else F.adaptive_avg_pool1d(sequence.T[None], num_steps)[0].T


def padded(sequences: Sequence[torch.Tensor], hidden: Sequence[bool]) -> Sequences:
    """Sequences (T, D) as one batch."""
    values = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    present = torch.tensor([[float(not one)] for one in hidden])
    return Sequences(values * present[:, :, None], torch.tensor([len(sequence) for sequence in sequences]), present)


def aligned(sequences: Sequences, lengths: torch.Tensor) -> torch.Tensor:
    """Values averaged over equal spans of each item to that item's `lengths`, (B, max of lengths, D); what lies after them is zero."""
    steps, own = torch.arange(int(lengths.max()), device=lengths.device), sequences.lengths
    start = steps * own[:, None] // lengths[:, None]  # (B, T')
    end = -(-(steps + 1) * own[:, None] // lengths[:, None])
    position = torch.arange(sequences.values.shape[1], device=lengths.device)
    inside = (position >= start[..., None]) & (position < end[..., None]) & (steps < lengths[:, None])[..., None]  # (B, T', T)
    shares = inside.float()
    return (shares / shares.sum(-1, keepdim=True).clamp(min=1)) @ sequences.values


def last(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The value of each item at its own last step, (B, D)."""
    return values[torch.arange(len(values), device=values.device), lengths - 1]
