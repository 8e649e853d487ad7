"""Memory Fusion Network (Zadeh et al., 2018), after MMSA 2.2.1's models/singleTask/MFN.py; sound and pictures follow the text's steps.

Shapes: B items, T steps of the text, H hidden values of the three cells together, M values of the memory.
"""

from __future__ import annotations

import torch
from torch import nn

from omnimer_ray.config import Modality
from omnimer_ray.fusion.sequences import Inputs, aligned
from omnimer_ray.fusion_config import Mfn

ORDER: tuple[Modality, ...] = ("text", "audio", "video")


class MfnNetwork(nn.Module):
    """An LSTM cell of each modality, attention over their cells before and after a step, and a gated memory of what it attends to."""

    def __init__(self, settings: Mfn, widths: dict[Modality, int], num_labels: int) -> None:
        super().__init__()
        self.hidden = hidden = dict[Modality, int](
            {"text": settings.text_hidden, "audio": settings.audio_hidden, "video": settings.video_hidden}
        )
        total, memory = sum(hidden.values()), settings.memory
        self.memory = memory
        self.cells = nn.ModuleDict({name: nn.LSTMCell(widths[name], hidden[name]) for name in ORDER})
        self.attention = _two_layers(2 * total, settings.attention_hidden, 2 * total, settings.attention_dropout)
        self.proposal = _two_layers(2 * total, settings.attention_hidden, memory, 0.0)
        self.retain = _two_layers(2 * total + memory, settings.gate_hidden, memory, settings.retain_dropout)
        self.update = _two_layers(2 * total + memory, settings.gate_hidden, memory, settings.update_dropout)
        self.head = _two_layers(total + memory, settings.gate_hidden, num_labels, settings.out_dropout)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Logits, (B, labels), from the states at each item's own last step."""
        lengths = inputs["text"].lengths
        steps = {name: aligned(inputs[name], lengths) for name in ORDER}  # (B, T, D)
        size, like = len(lengths), steps["text"]
        state = {name: (like.new_zeros(size, hidden), like.new_zeros(size, hidden)) for name, hidden in self.hidden.items()}
        memory = like.new_zeros(size, self.memory)
        for step in range(like.shape[1]):
            new = {name: self.cells[name](steps[name][:, step], state[name]) for name in ORDER}
            both = torch.cat([cells[name][1] for cells in (state, new) for name in ORDER], 1)  # (B, 2 H)
            going_on = (step < lengths)[:, None]
            memory = torch.where(going_on, self.remember(memory, both), memory)
            state = {
                name: (torch.where(going_on, new[name][0], state[name][0]), torch.where(going_on, new[name][1], state[name][1]))
                for name in ORDER
            }
        logits: torch.Tensor = self.head(torch.cat([*(state[name][0] for name in ORDER), memory], 1))
        return logits

    def remember(self, memory: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """The memory (B, M) after a step; `cells` (B, 2 H) are those before it and after it."""
        attended = torch.softmax(self.attention(cells), 1) * cells
        known = torch.cat([attended, memory], 1)
        kept: torch.Tensor = torch.sigmoid(self.retain(known)) * memory + torch.sigmoid(self.update(known)) * torch.tanh(
            self.proposal(attended)
        )
        return kept


def _two_layers(width: int, hidden: int, out: int, drop: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(drop), nn.Linear(hidden, out))
