"""The gate between ways of computing: the same training in float64, where the order of sums does not matter.

In fp32 it does: the first gradients of a fresh adapter are close to zero, and Adam divides them by their own size, so rounding alone moves an
adapter by some percent of what training changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.naive import Ways, changed_by
from omnimer_ray.planning.setup import Sweep

STEPS = 6


class _Torch:
    """torch, with float64 where float32 is asked for or taken for granted."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, "float64" if name == "float32" else name)

    def zeros(self, *size: Any, **named: Any) -> Any:
        """(size) of float64."""
        return self._torch.zeros(*size, **{"dtype": self._torch.float64, **named})


@contextmanager
def in_double() -> Iterator[None]:
    """Lift the casts to fp32 of the model's own code and of the loss; media are made as ever."""
    import torch
    from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as modeling

    from omnimer_ray.training import loop

    double = _Torch(torch)
    with (
        patch.object(modeling, "torch", double),
        patch.object(loop, "torch", double),
        patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        yield


def distances(sweep: Sweep, ledgers: Path, cache: Path, ours: Ways, others: dict[str, Ways]) -> dict[str, float]:
    """Relative L2 between what the first steps of the run with most instructions change in our ways and in others, by their names."""
    import torch

    run = max(sweep.plan.runs.values(), key=lambda run: len(run.stages[-1].kinds))
    with in_double():
        changes = {name: changed_by(sweep, run, ledgers, cache, ways, STEPS, torch.float64) for name, ways in {"": ours, **others}.items()}
    mine = changes.pop("")
    size = sum(float((tensor**2).sum()) for tensor in mine.values())
    return {
        name: float((sum(float(((theirs[part] - tensor) ** 2).sum()) for part, tensor in mine.items()) / size) ** 0.5)
        for name, theirs in changes.items()
    }
