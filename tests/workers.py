"""Processes in one gloo group that run functions for a test, as the workers of a training do."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch.multiprocessing as mp

TIMEOUT_SEC = 300


class Workers:
    """`num` processes that live until the end of the `with`; importing torch and DeepSpeed takes longer than what they are asked."""

    def __init__(self, num: int, store: Path) -> None:
        context = mp.get_context("spawn")
        self.pipes: list[Any] = []
        self.processes: list[Any] = []
        for rank in range(num):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, rank, num, str(store)), daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)

    def run(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Results of the module-level `function` on each rank; a failure there fails the test here."""
        for pipe in self.pipes:
            pipe.send((function, args))
        results = []
        for rank, pipe in enumerate(self.pipes):
            assert pipe.poll(TIMEOUT_SEC), f"rank {rank} does not answer"
            result, error = pipe.recv()
            assert not error, f"rank {rank}:\n{error}"
            results.append(result)
        return results

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.processes:  # they hold nothing that is worth a farewell
            process.kill()
            process.join()


def _serve(pipe: Connection, rank: int, num: int, store: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, num), rank=rank, world_size=num)
    while True:
        function, args = pipe.recv()
        try:
            pipe.send((function(*args), ""))
        except Exception:
            pipe.send((None, traceback.format_exc()))
