"""Multimodal Transformer (Tsai et al., 2019), after MMSA 2.2.1's models/singleTask/MULT.py; padding is masked, and the last step is the item's own.

Shapes: B items, T steps (q of the querying modality, k of the attended one), W width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from omnimer_ray.config import Modality
from omnimer_ray.fusion.sequences import Inputs, Sequences, last
from omnimer_ray.fusion_config import Mult

ORDER: tuple[Modality, ...] = ("text", "audio", "video")


class MultNetwork(nn.Module):
    """Every modality attends to each other one; a transformer over both results; the last steps decide."""

    def __init__(self, settings: Mult, widths: dict[Modality, int], num_labels: int) -> None:
        super().__init__()
        width = settings.width
        self.settings = settings
        self.kernels = kernels = dict.fromkeys(ORDER, 1) | {"text": settings.text_kernel}
        self.project = nn.ModuleDict({name: nn.Conv1d(widths[name], width, kernels[name], bias=False) for name in ORDER})
        drops = {
            "text": settings.attention_dropout,
            "audio": settings.audio_attention_dropout,
            "video": settings.video_attention_dropout,
        }
        self.cross = nn.ModuleDict(
            {
                f"{query} with {key}": Transformer(width, settings, settings.layers, drops[key])
                for query in ORDER
                for key in ORDER
                if key != query
            }
        )
        layers = max(settings.layers, settings.memory_layers)
        self.memory = nn.ModuleDict({name: Transformer(2 * width, settings, layers, settings.attention_dropout) for name in ORDER})
        self.first, self.second = nn.Linear(6 * width, 6 * width), nn.Linear(6 * width, 6 * width)
        self.out = nn.Linear(6 * width, num_labels)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Logits, (B, labels)."""
        projected = {name: self._projected(name, inputs[name]) for name in ORDER}
        ends = []
        for query in ORDER:
            mine = projected[query]
            attended = [self.cross[f"{query} with {key}"](mine, projected[key]) for key in ORDER if key != query]
            both = mine._replace(values=torch.cat(attended, 2))
            ends.append(last(self.memory[query](both, both), mine.lengths) * mine.present)
        joined = torch.cat(ends, 1)
        added = self.second(F.dropout(F.relu(self.first(joined)), self.settings.out_dropout, self.training))
        logits: torch.Tensor = self.out(joined + added)
        return logits

    def _projected(self, name: Modality, sequences: Sequences) -> Sequences:
        """Sequences of width W; the text's convolution shortens it, to one step at least."""
        convolution, values = self.project[name], sequences.values
        kernel = self.kernels[name]
        if name == "text":
            values = F.dropout(values, self.settings.text_dropout, self.training)
        values = F.pad(values, (0, 0, 0, max(0, kernel - values.shape[1])))
        return Sequences(
            convolution(values.transpose(1, 2)).transpose(1, 2), (sequences.lengths - kernel + 1).clamp(min=1), sequences.present
        )


class Transformer(nn.Module):
    """Layers of attention from one sequence to another one, or to itself, each after a layer norm that both sides share."""

    def __init__(self, width: int, settings: Mult, layers: int, attention_dropout: float) -> None:
        super().__init__()
        self.scale, self.settings = math.sqrt(width), settings
        self.layers = nn.ModuleList(Layer(width, settings, attention_dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, query: Sequences, key: Sequences) -> torch.Tensor:
        """(B, Tq, W); step i sees steps up to i + |Tk - Tq| of the other sequence, by each item's own lengths."""
        mask = seen_steps(query, key)
        drop = self.settings.embedding_dropout
        x = F.dropout(self.scale * query.values, drop, self.training)
        other = None if key is query else F.dropout(self.scale * key.values, drop, self.training)
        for layer in self.layers:
            x = layer(x, other, mask, key.present)
        normed: torch.Tensor = self.norm(x)
        return normed


class Layer(nn.Module):
    """Attention and two linear layers, each added to what it gets."""

    def __init__(self, width: int, settings: Mult, attention_dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, settings.heads, attention_dropout, batch_first=True)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for linear in (self.first, self.second):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.heads, self.drop = settings.heads, settings.residual_dropout

    def forward(self, x: torch.Tensor, other: torch.Tensor | None, mask: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(B, Tq, W); `other` (B, Tk, W): None for x itself; nothing is added from a hidden modality."""
        query = self.norms[0](x)
        key = query if other is None else self.norms[0](other)
        blocked = ~mask.repeat_interleave(self.heads, 0)
        attended = self.attention(query, key, key, attn_mask=blocked, need_weights=False)[0] * present[:, :, None]
        x = x + F.dropout(attended, self.drop, self.training)
        inner = self.second(F.relu(self.first(self.norms[1](x))))
        return x + F.dropout(inner, self.drop, self.training)


def seen_steps(query: Sequences, key: Sequences) -> torch.Tensor:
    """(B, Tq, Tk), True where a step may look; a step of padding looks at the first one."""
    ahead = (key.lengths - query.lengths).abs()[:, None, None]
    steps, others = (torch.arange(one.values.shape[1], device=one.values.device) for one in (query, key))
    return (others <= steps[None, :, None] + ahead) & key.mask[:, None, :]
