"""What one Ray Tune trial does: it starts a Ray Train worker group for the next unit of a plan, and says what became of it."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnimer_ray.execution.capacity import placement_group_tag
from omnimer_ray.execution.failures import Attempt, FailureKind, classify, classify_text, needs_less_memory
from omnimer_ray.execution.handout import Job
from omnimer_ray.execution.worker import work
from omnimer_ray.machine.profile import smaller
from omnimer_ray.planning.units import LedgerUnit, Unit, recorded_outcome

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer


def run_unit(config: dict[str, Any], job: Job) -> None:
    """The Tune trainable: one worker group for one unit; what became of it is the trial's one report."""
    from ray import tune

    tried = config.get("tried", [])
    tune.report(_fit(_job_after(job, tried), config["unit"], tried))


def classify_dead_trial(job: Job, unit: Unit, tried: Sequence[Attempt], text: str) -> Attempt:
    """Outcome of a unit whose trial's process died: the reason that its watchdog wrote, else by what Ray wrote."""
    if _is_recorded(job, unit):
        return {"outcome": "done"}
    return {**classify_text(text), **_hung(job, unit), "micro_batch": _job_after(job, tried).profile.micro_batch}


def _job_after(job: Job, tried: Sequence[Attempt]) -> Job:
    """The job for the next attempt: with a smaller micro-batch after one that ran out of memory."""
    return replace(job, profile=smaller(job.profile)) if needs_less_memory(tried) else job


def _hung(job: Job, unit: Unit) -> dict[str, Any]:
    """What a watchdog said when it ended a worker of the unit; it counts once."""
    path = job.hung_file(unit)
    if not path.exists():
        return {}
    reason = path.read_text(encoding="utf-8")
    path.unlink()
    return {"outcome": FailureKind.HUNG, "reason": reason}


def _fit(job: Job, unit: Unit, tried: Sequence[Attempt]) -> dict[str, Any]:
    try:
        return dict(_trainer(job, unit, tried).fit().return_value)
    except Exception as error:  # raised by a worker, here or through Train; the kind decides what follows
        if _is_recorded(job, unit):
            return {"outcome": "done"}
        _write_trace(job.work / "errors" / f"{unit.id}.txt", error)
        return {**classify(error), **_hung(job, unit), "micro_batch": job.profile.micro_batch}


def _write_trace(path: Path, error: Exception) -> None:
    with contextlib.suppress(OSError):  # the error may be that the disk is full
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")


def _trainer(job: Job, unit: Unit, tried: Sequence[Attempt]) -> TorchTrainer:
    import ray.train
    import ray.train.torch

    profile = job.profile
    per_worker = {"CPU": profile.cpus_per_worker, "GPU": profile.gpus_per_worker, "memory": placement_group_tag(unit, job.session)}
    return ray.train.torch.TorchTrainer(
        work,
        train_loop_config={"job": job, "unit": unit, "tried": tried, "began": time.time()},
        scaling_config=ray.train.ScalingConfig(
            num_workers=profile.workers_per_run,
            use_gpu=profile.gpus_per_worker > 0 and profile.workers_per_run > 0,
            resources_per_worker={name: amount for name, amount in per_worker.items() if amount} if profile.workers_per_run else None,
            accelerator_type=profile.accelerator_type,
        ),
        # Train would resume from its own state under the same name; ours are our own checkpoints. Nor may it retry by itself: it does
        # not release a group whose set-up failed, and would wait for the cores that this group holds.
        run_config=ray.train.RunConfig(
            name=f"{unit.id}-{job.session}-{time.time_ns()}",
            storage_path=str(job.work / "train"),
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
        torch_config=ray.train.torch.TorchConfig(
            backend="nccl" if profile.gpus_per_worker else "gloo", timeout_s=int(profile.startup_timeout_sec)
        ),
    )


def _is_recorded(job: Job, unit: Unit) -> bool:
    """Whether it died only when everything was written: nothing is to be done again, and validation is not opened twice."""
    return not isinstance(unit, LedgerUnit) and recorded_outcome(unit, job.folder) == "done"
