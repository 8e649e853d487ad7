"""Values that all workers of a run must share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


def of_rank_0(make: Callable[[], T]) -> T:
    """Return the result of `make` on rank 0, on every rank: ranks may see a shared folder in different states."""
    import torch.distributed as dist

    shared = [make() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(shared, src=0)
    return cast(T, shared[0])
