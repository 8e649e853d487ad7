"""One of two processes that all-reduce a tensor: prints the seconds of one all-reduce.

It is a separate process, so that it can be killed if it hangs, and so that NCCL reads its settings again.
Run:  python -m omnimer_ray.doctor.reduce RANK HOST:PORT cpu|cuda MIB LIMIT_SEC
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta

REPEATS = 3


def reduce(rank: int, address: str, device: str, mib: int, limit_sec: float) -> float:
    """Seconds of an all-reduce of `mib` MiB of float32 between two processes that meet at `address`."""
    import torch
    import torch.distributed as dist

    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"tcp://{address}", rank=rank, world_size=2, timeout=timedelta(seconds=limit_sec))
    tensor = torch.ones(mib * 2**18, device=device)
    dist.all_reduce(tensor)  # the first all-reduce also sets up the connection
    if not bool((tensor == 2).all()):
        raise ArithmeticError("an all-reduce of ones gave something else than twos")
    began = time.perf_counter()
    for _ in range(REPEATS):
        dist.all_reduce(tensor)
    float(tensor[0])  # waits for a card
    sec = (time.perf_counter() - began) / REPEATS
    dist.destroy_process_group()
    return sec


if __name__ == "__main__":
    print(reduce(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
