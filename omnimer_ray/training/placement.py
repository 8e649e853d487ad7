"""How a worker executes a stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """Execution settings of a worker. They never change what is computed."""

    micro_batch: int
    zero_stage: int = 2
    recompute: Callable[[int, int], bool] | None = None  # by padded tokens and tokens of sound: layers compute again in the backward pass
    checkpoint_every: int = 50  # steps
    device: str = "cpu"
