"""Tensor Fusion Network (Zadeh et al., 2017), after MMSA 2.2.1's models/singleTask/TFN.py; means leave padding out, the text's LSTM too.

Shapes: B items, T steps, D values of a step, H hidden values.
"""

from __future__ import annotations

import torch
from torch import nn

from omnimer_ray.config import Modality
from omnimer_ray.fusion.sequences import Inputs, Sequences
from omnimer_ray.fusion_config import Tfn


class Affine(nn.Module):
    """Scale and shift of each value; where MMSA normalises over the batch, our inputs are standardised by train."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D) -> (B, D)."""
        return x * self.weight + self.bias


class TfnNetwork(nn.Module):
    """[1; text] x [1; sound] x [1; pictures] as one vector, and three layers on it."""

    def __init__(self, settings: Tfn, widths: dict[Modality, int], num_labels: int) -> None:
        super().__init__()
        drop = settings.dropout
        self.text = nn.LSTM(widths["text"], settings.text_hidden, batch_first=True)
        self.text_out = nn.Sequential(nn.Dropout(drop), nn.Linear(settings.text_hidden, settings.text_out))
        self.audio = _subnet(widths["audio"], settings.audio_hidden, drop)
        self.video = _subnet(widths["video"], settings.video_hidden, drop)
        fused = (settings.text_out + 1) * (settings.audio_hidden + 1) * (settings.video_hidden + 1)
        self.head = nn.Sequential(
            nn.Dropout(drop),
            nn.Linear(fused, settings.fused),
            nn.ReLU(),
            nn.Linear(settings.fused, settings.fused),
            nn.ReLU(),
            nn.Linear(settings.fused, num_labels),
        )

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Logits, (B, labels). A hidden modality leaves its constant 1."""
        audio = self.audio(inputs["audio"].mean()) * inputs["audio"].present
        video = self.video(inputs["video"].mean()) * inputs["video"].present
        text = self.text_out(final_state(self.text, inputs["text"])) * inputs["text"].present
        logits: torch.Tensor = self.head(fusion(audio, video, text))
        return logits


def fusion(*vectors: torch.Tensor) -> torch.Tensor:
    """Outer product of the vectors (B, H), each with a 1 before it, (B, product of H + 1)."""
    product = torch.ones(len(vectors[0]), 1, device=vectors[0].device, dtype=vectors[0].dtype)
    for vector in vectors:
        product = torch.bmm(product[:, :, None], torch.cat([torch.ones_like(vector[:, :1]), vector], 1)[:, None, :]).flatten(1)
    return product


def final_state(lstm: nn.LSTM, sequences: Sequences) -> torch.Tensor:
    """The LSTM's state at each item's own last step, (B, H)."""
    packed = nn.utils.rnn.pack_padded_sequence(sequences.values, sequences.lengths.cpu(), batch_first=True, enforce_sorted=False)
    state: torch.Tensor = lstm(packed)[1][0][0]
    return state


def _subnet(width: int, hidden: int, drop: float) -> nn.Sequential:
    layers = [nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(Affine(width), nn.Dropout(drop), *layers)
