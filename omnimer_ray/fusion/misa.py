"""MISA (Hazarika et al., 2020), after MMSA 2.2.1's models/singleTask/MISA.py and trains/singleTask/MISA.py, with precomputed text features.

Shapes: B items, D values of a step, W width of the codes.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import nn

from omnimer_ray.config import Modality
from omnimer_ray.fusion.sequences import Inputs, Sequences
from omnimer_ray.fusion_config import Misa

ORDER: tuple[Modality, ...] = ("text", "video", "audio")
MOMENTS = 5


class MisaNetwork(nn.Module):
    """A private code of each modality and a code by one encoder that all share; a transformer over the six decides."""

    def __init__(self, settings: Misa, widths: dict[Modality, int], num_labels: int) -> None:
        super().__init__()
        width, recurrent = settings.width, settings.recurrent
        self.settings = settings
        heard: tuple[Modality, ...] = ("video", "audio")
        self.first = nn.ModuleDict({name: nn.LSTM(widths[name], recurrent, bidirectional=True, batch_first=True) for name in heard})
        self.norm = nn.ModuleDict({name: nn.LayerNorm(2 * recurrent) for name in heard})
        self.second = nn.ModuleDict({name: nn.LSTM(2 * recurrent, recurrent, bidirectional=True, batch_first=True) for name in heard})
        sizes = {"text": widths["text"], "video": 4 * recurrent, "audio": 4 * recurrent}
        self.project = nn.ModuleDict({name: nn.Sequential(nn.Linear(sizes[name], width), nn.ReLU(), nn.LayerNorm(width)) for name in ORDER})
        self.private = nn.ModuleDict({name: nn.Sequential(nn.Linear(width, width), nn.Sigmoid()) for name in ORDER})
        self.shared = nn.Sequential(nn.Linear(width, width), nn.Sigmoid())
        self.reconstruct = nn.ModuleDict({name: nn.Linear(width, width) for name in ORDER})
        self.transformer = nn.TransformerEncoderLayer(width, nhead=2, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(6 * width, 3 * width), nn.Dropout(settings.dropout), nn.ReLU(), nn.Linear(3 * width, num_labels)
        )
        self.extra_loss: torch.Tensor | None = None  # of the last batch; not a sum over items

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Logits, (B, labels); in training the loss of the codes is left in `extra_loss`."""
        utterances = {name: self.project[name](self._summary(name, inputs[name])) for name in ORDER}
        present = {name: inputs[name].present for name in ORDER}
        private = {name: self.private[name](utterances[name]) * present[name] for name in ORDER}
        shared = {name: self.shared(utterances[name]) * present[name] for name in ORDER}
        self.extra_loss = self._loss_of_codes(utterances, private, shared) if self.training else None
        codes = torch.stack([*private.values(), *shared.values()], 1)  # (B, 6, W)
        logits: torch.Tensor = self.head(self.transformer(codes).flatten(1))
        return logits

    def _summary(self, name: Modality, sequences: Sequences) -> torch.Tensor:
        """A clip's text as its mean, its sound and pictures as the last states of two recurrent layers."""
        if name == "text":
            return sequences.mean()
        lengths = sequences.lengths.cpu()

        def packed(values: torch.Tensor) -> nn.utils.rnn.PackedSequence:
            return nn.utils.rnn.pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)

        states, (first, _) = self.first[name](packed(sequences.values))
        normed = self.norm[name](nn.utils.rnn.pad_packed_sequence(states, batch_first=True)[0])
        _, (second, _) = self.second[name](packed(normed))
        return torch.cat([first, second], 2).transpose(0, 1).flatten(1)  # (B, 4 recurrent), as MMSA joins them

    def _loss_of_codes(
        self, utterances: dict[Modality, torch.Tensor], private: dict[Modality, torch.Tensor], shared: dict[Modality, torch.Tensor]
    ) -> torch.Tensor:
        weights = self.settings
        apart = sum((difference(private[name], shared[name]) for name in ORDER), start=torch.zeros(()))
        apart = apart + sum((difference(private[one], private[other]) for one, other in combinations(ORDER, 2)), start=torch.zeros(()))
        alike = sum(
            (central_moment_discrepancy(shared[one], shared[other]) for one, other in combinations(ORDER, 2)), start=torch.zeros(())
        )
        rebuilt = [((self.reconstruct[name](private[name] + shared[name]) - utterances[name]) ** 2).mean() for name in ORDER]
        loss: torch.Tensor = (
            weights.difference_weight * apart
            + weights.similarity_weight * alike / len(ORDER)
            + weights.reconstruction_weight * torch.stack(rebuilt).mean()
        )
        return loss


def difference(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Mean squared product of two codes (B, W), each centred over the batch and of length 1: 0 if they are orthogonal."""
    left, right = (
        (code - code.mean(0)) / (torch.linalg.vector_norm(code - code.mean(0), dim=1, keepdim=True).detach() + 1e-6)
        for code in (one, other)
    )
    product: torch.Tensor = left.T @ right
    return product.pow(2).mean()


def central_moment_discrepancy(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Sum of distances of the first five central moments over the batch (Zellinger et al., 2017)."""
    left, right = one - one.mean(0), other - other.mean(0)
    distances = [torch.linalg.vector_norm(one.mean(0) - other.mean(0))]
    distances += [torch.linalg.vector_norm(left.pow(order).mean(0) - right.pow(order).mean(0)) for order in range(2, MOMENTS + 1)]
    return torch.stack(distances).sum()
