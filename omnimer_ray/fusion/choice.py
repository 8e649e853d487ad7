"""The best epoch of a training that chooses one: scored on clips that are not trained on, kept in the stage's folder, so that a stopped stage goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file

from omnimer_ray.records import read_json, write_atomically, write_json

BEST, ABOUT = "best.safetensors", "best.json"


class Choice(NamedTuple):
    """Called after every step; scores at the end of every epoch."""

    folder: Path
    num_items: int
    batch: int
    patience: int | None  # epochs
    score: Callable[[], float]
    parameters: Callable[[], dict[str, torch.Tensor]]

    def __call__(self, step: int) -> bool:
        """Score the epoch that ends with this step, if one does; whether the training may end."""
        epoch = self._epoch(step)
        if epoch != self._epoch(step - 1):
            score, before = self.score(), self.best()
            if before is None or score > before["score"]:
                tensors = self.parameters()
                write_atomically(self.folder / BEST, lambda path: save_file(tensors, path))
                write_json(self.folder / ABOUT, {"epoch": epoch, "step": step, "score": score})
        return self.is_over(step)

    def is_over(self, step: int) -> bool:
        """Whether no epoch was better for as long as `patience` allows."""
        best = self.best()
        return self.patience is not None and best is not None and self._epoch(step) - best["epoch"] >= self.patience

    def best(self) -> dict[str, float] | None:
        """Epoch, step and score of the best epoch so far."""
        found: dict[str, float] | None = read_json(self.folder / ABOUT) if (self.folder / ABOUT).exists() else None
        return found

    def take(self) -> dict[str, torch.Tensor]:
        """The parameters of the best epoch."""
        return dict(load_file(self.folder / BEST))

    def _epoch(self, step: int) -> int:
        """Epochs that have ended by the end of a step."""
        return step * self.batch // self.num_items
