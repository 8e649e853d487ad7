"""What all workers of a run must see alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


def of_rank_0(make: Callable[[], T]) -> T:
    """What rank 0 makes, on every rank: a shared folder may show the others something else."""
    import torch.distributed as dist

    shared = [make() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(shared, src=0)
    return cast(T, shared[0])
