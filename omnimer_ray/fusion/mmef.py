"""MMEF-Net's fusion (section III-C): three modality tokens through self-attention with a residual connection, then a head.

Equation 1 over the one concatenated row would be a softmax over one entry; here each modality is a token, so the weights are 3 x 3.
Shapes: B items, W width of a token.
"""

from __future__ import annotations

import torch
from torch import nn

from omnimer_ray.config import Modality
from omnimer_ray.fusion.sequences import Inputs
from omnimer_ray.fusion_config import Mmef


class MmefNetwork(nn.Module):
    """Means over time, projected; self-attention of the modalities; LayerNorm(F + Attn(F)); a head."""

    def __init__(self, settings: Mmef, widths: dict[Modality, int], num_labels: int) -> None:
        super().__init__()
        width, drop = settings.width, settings.dropout
        self.order = sorted(widths)
        plain = {name: nn.Linear(widths[name], width) for name in self.order}
        self.project = nn.ModuleDict(
            {name: nn.Sequential(linear, nn.ReLU(), nn.Dropout(drop)) if settings.projection else linear for name, linear in plain.items()}
        )
        self.attention = nn.MultiheadAttention(width, settings.heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        fused = width * len(widths)
        layers = [nn.Linear(fused, width), nn.ReLU(), nn.Dropout(drop)] if settings.mlp else []
        self.head = nn.Sequential(*layers, nn.Linear(width if settings.mlp else fused, num_labels))

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Logits, (B, labels)."""
        logits: torch.Tensor = self.head(self.represent(inputs))
        return logits

    def represent(self, inputs: Inputs) -> torch.Tensor:
        """The fused features, (B, modalities x W); a hidden modality is no key, and its own part is zero."""
        fused, _ = self.attended(inputs)
        return fused

    def attended(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """The fused features, and the weights of the modalities (B, modalities, modalities), a row of each that asks."""
        present = torch.cat([inputs[name].present for name in self.order], 1)  # (B, modalities)
        tokens = torch.stack([self.project[name](inputs[name].mean()) for name in self.order], 1) * present[..., None]
        mixed, weights = self.attention(tokens, tokens, tokens, key_padding_mask=present == 0)
        fused = self.norm(tokens + mixed) * present[..., None]
        return fused.flatten(1), weights
