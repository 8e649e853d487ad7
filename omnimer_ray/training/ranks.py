"""Values that must be equal on all workers of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


def broadcast_from_rank_0(make: Callable[[], T]) -> T:
    """Call `make` on rank 0 and return its result on every rank, because ranks may see a shared folder in different states."""
    import torch.distributed as dist

    shared = [make() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(shared, src=0)
    return cast(T, shared[0])
