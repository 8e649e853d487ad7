"""What the workers of every method have in common: their unit, clips and folders, records, progress and the end of a sweep."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omnimer_ray.execution.handout import Job, read_manifest
from omnimer_ray.execution.unit_records import run_record, write_cost
from omnimer_ray.planning.units import Run, Unit
from omnimer_ray.records import predictions_schema, write_json, write_record, write_table


class UnitWorker(ABC):
    """A worker of one unit. Every rank runs every line; rank 0 writes. Everything else is exchanged through the results folder."""

    def __init__(
        self,
        job: Job,
        unit: Unit,
        rank: int,
        num_workers: int,
        attempts: Sequence[dict[str, Any]],
        began: float,
        beat: Callable[[], None] = lambda: None,  # the heartbeat, called after each micro-batch
    ) -> None:
        self.job, self.unit, self.rank, self.num_workers, self.attempts = job, unit, rank, num_workers, attempts
        self.began = began  # time.time() at which the trial started, so that the start of processes counts
        self.beat = beat
        self.timings = dict.fromkeys(("startup_sec", "training_sec", "items", "evaluation_sec", "answers"), 0.0)
        self.device = _device()
        self.clips = read_manifest(job.work / "manifest.json", unit.config)

    @abstractmethod
    def execute(self) -> dict[str, Any]:
        """Do the unit's work; returns its outcome."""

    def should_stop(self, step: int) -> bool:
        """Whether the sweep is being stopped."""
        return self.job.stop_file.exists()

    def started(self) -> None:
        """The unit's work begins: from here on the history shows its progress."""
        self.timings["startup_sec"] = time.time() - self.began

    def write_cost(self, folder: Path) -> None:
        """Write cost.json of a stage or run."""
        write_cost(
            folder, self.job.profile, time.time() - self.began, self.num_workers, self.attempts, self.timings, self.unit.config.method
        )

    def write_run(self, run: Run, rows: Sequence[dict[str, Any]], began: float, about: dict[str, Any]) -> None:
        """Write a run's predictions and record, which `about` adds to; `began`: time.monotonic() at the start of its evaluation."""
        import polars as pl

        folder = self.job.folder / "runs" / run.signature
        write_json(folder / "config.json", run.config.model_dump(mode="json"))
        write_table(folder / "predictions.parquet", pl.DataFrame(rows, schema=predictions_schema()))
        self.timings |= {"answers": len(rows), "evaluation_sec": time.monotonic() - began}
        self.write_cost(folder)
        write_record(folder, {**run_record(run, self.job.folder, self.num_workers), **about})
        self.progress("clips")(len(rows), len(rows))

    def show_history(self) -> None:
        """From here on the history shows the unit's progress."""
        if self.rank == 0:
            self.job.progress_file(self.unit).unlink(missing_ok=True)

    def progress(self, what: str) -> Callable[[int, int], None]:
        """Return a function that writes the unit's progress for the driver, as a file, because the nodes of a cluster share only the folder."""

        def report(done: int, total: int) -> None:
            if self.rank == 0:
                write_json(self.job.progress_file(self.unit), {"done": done, "total": total, "what": what})

        return report


def barrier() -> None:
    """Wait for all ranks."""
    import torch.distributed as dist

    dist.barrier()


def _device() -> Any:
    import ray.train.torch
    import torch

    return ray.train.torch.get_device() if torch.cuda.is_available() else torch.device("cpu")
