"""One Ray Tune trial: run a unit of a plan in a Ray Train worker group, and report its outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.execution.capacity import placement_group_tag
from omnimer_ray.execution.failures import Attempt, FailureKind, classify, classify_text, needs_less_memory, write_trace
from omnimer_ray.execution.handout import Job
from omnimer_ray.execution.worker_process import work
from omnimer_ray.machine.profile import smaller
from omnimer_ray.planning.units import PartUnit, RunUnit, StageUnit, Unit, recorded_outcome

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer


def run_unit(config: dict[str, Any], job: Job) -> None:
    """Tune trainable: run one unit in one worker group, and report its outcome once."""
    from ray import tune

    unit, attempts = config["unit"], config.get("attempts", [])
    tune.report(_fit(_job_of(job, unit, attempts), unit, attempts))


def classify_dead_trial(job: Job, unit: Unit, attempts: Sequence[Attempt], text: str) -> Attempt:
    """Return the outcome of a unit whose trial's process died: by the watchdog's reason if it wrote one, else by Ray's text."""
    if _is_recorded(job, unit):
        return {"outcome": "done"}
    return {**classify_text(text), **_hung(job, unit), "micro_batch": _job_of(job, unit, attempts).profile.micro_batch}


def _job_of(job: Job, unit: Unit, attempts: Sequence[Attempt]) -> Job:
    """Return the job of a unit's next attempt: with a smaller micro-batch after an attempt that ran out of memory, with one worker for a fusion network."""
    profile = smaller(job.profile) if needs_less_memory(attempts) else job.profile
    if isinstance(unit, StageUnit | RunUnit) and not isinstance(
        unit.config, ThinkerConfig
    ):  # a loss over a batch would differ on parts of it
        profile = profile.model_copy(update={"workers_per_run": min(1, profile.workers_per_run)})
    return replace(job, profile=profile)


def _hung(job: Job, unit: Unit) -> dict[str, Any]:
    """Return the outcome `hung` if a watchdog killed a worker of the unit, and delete the watchdog's file; else nothing."""
    path = job.hung_file(unit)
    if not path.exists():
        return {}
    reason = path.read_text(encoding="utf-8")
    path.unlink()
    return {"outcome": FailureKind.HUNG, "reason": reason}


def _fit(job: Job, unit: Unit, attempts: Sequence[Attempt]) -> dict[str, Any]:
    try:
        return dict(_trainer(job, unit, attempts).fit().return_value)
    except Exception as error:  # raised in a worker, here or through Train; its kind decides about retries
        if _is_recorded(job, unit):
            return {"outcome": "done"}
        write_trace(job.work / "errors" / f"{unit.id}.txt", error)
        return {**classify(error), **_hung(job, unit), "micro_batch": job.profile.micro_batch}


def _trainer(job: Job, unit: Unit, attempts: Sequence[Attempt]) -> TorchTrainer:
    import ray.train
    import ray.train.torch

    profile = job.profile
    per_worker = {"CPU": profile.cpus_per_worker, "GPU": profile.gpus_per_worker, "memory": placement_group_tag(unit, job.session)}
    return ray.train.torch.TorchTrainer(
        work,
        train_loop_config={"job": job, "unit": unit, "attempts": attempts, "began": time.time()},
        scaling_config=ray.train.ScalingConfig(
            num_workers=profile.workers_per_run,
            use_gpu=profile.gpus_per_worker > 0 and profile.workers_per_run > 0,
            resources_per_worker={name: amount for name, amount in per_worker.items() if amount} if profile.workers_per_run else None,
            accelerator_type=profile.accelerator_type,
        ),
        # A new name each time: Train would resume from its own state under an old name, and our checkpoints are the state. No retries
        # by Train: it does not release a worker group whose set-up failed, and would wait for the cores that this group holds.
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
    """Whether the unit died after its record was written: then nothing is repeated, and the reported part is not evaluated twice."""
    return not isinstance(unit, PartUnit) and recorded_outcome(unit, job.folder) == "done"
