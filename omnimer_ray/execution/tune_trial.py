"""What one Ray Tune trial does: it starts a Ray Train worker group for the next unit of a plan, and says what became of it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnimer_ray.execution.capacity import placement_group_tag
from omnimer_ray.execution.handout import Job
from omnimer_ray.execution.worker import work
from omnimer_ray.machine.profile import smaller
from omnimer_ray.planning.units import LedgerUnit, RunUnit, Unit, record_folder, recorded_outcome
from omnimer_ray.records import write_record

OUT_OF_MEMORY = (
    "out of memory",
    "ALLOC_FAILED",  # cuBLAS on a card that is nearly full
    "allocate memory",  # a core's allocator
    "low on memory",  # Ray's memory monitor
    "memory pressure",
)
FAILURES = {  # outcome -> what tells it in an error; these would fail again, so they are recorded
    "diverged": ("DivergedError",),
    "out_of_memory": ("OutOfMemoryError", "MemoryError", *OUT_OF_MEMORY),
    "bad_data": ("MediaError", "CorpusError"),
    "failed": ("ConfigError", "BaseModelError"),
}
PASSING = {  # of nodes, of processes and the network between them, then of the machine: told, not recorded
    "waiting": ("WorkerGroupStartupTimeout",),  # for cores: the placement group was not placed
    "lost_node": ("NodeDied", "node has died", "node has crashed", "Preemption", "LocalRayletDied"),
    "lost_worker": (
        "ActorDied",
        "ActorUnavailable",
        "WorkerCrashed",
        "HealthCheckTimeout",
        "GroupStartup",
        "onnection closed by peer",
        "onnection reset by peer",
        "DistBackendError",  # what NCCL says on the ranks that are left
        "DistNetworkError",
        "DistStoreError",
    ),
    "storage": ("ResultsError", "OSError", "No space left"),
    "machine": ("MachineError", "MissingExtraError", "InsufficientClusterResources"),
}
LOST = ("hung", "lost_worker", "lost_node")  # such a unit is started again and goes on from its last checkpoint
ATTEMPTS = 3  # of a unit that is lost
Attempt = dict[str, Any]  # a failed one: outcome, reason, micro_batch


def run_unit(config: dict[str, Any], job: Job) -> None:
    """The Tune trainable: one worker group for one unit; what became of it is the trial's one report."""
    from ray import tune

    tried = config.get("tried", [])
    tune.report(_fit(_job_after(job, tried), config["unit"], tried))


def died(job: Job, unit: Unit, tried: Sequence[Attempt], told: str) -> Attempt:
    """What became of a unit whose trial's process is gone: its watchdog's word, else what Ray tells."""
    if _is_recorded(job, unit):
        return {"outcome": "done"}
    result = classify(RuntimeError(told)) if told.strip() else {"outcome": "lost_worker", "reason": "its process died"}
    if result["outcome"] not in ("out_of_memory", *PASSING):  # a process that died says nothing of what it computed
        result["outcome"] = "lost_worker"
    return {**result, **_hung(job, unit), "micro_batch": _job_after(job, tried).profile.micro_batch}


def again(attempts: Sequence[Attempt]) -> bool:
    """Whether a unit that failed so is started once more: out of memory once, in less of it; lost until ATTEMPTS are through."""
    outcomes = [attempt["outcome"] for attempt in attempts]
    if outcomes[-1] == "out_of_memory":
        return outcomes.count("out_of_memory") == 1
    return outcomes[-1] in LOST and sum(outcome in LOST for outcome in outcomes) < ATTEMPTS


def record_attempts(folder: Path, unit: Unit, attempts: Sequence[Attempt]) -> None:
    """Records a unit that is given up, if it would fail again: not where a machine was lost or cannot write, for that is not the run's fault."""
    last = attempts[-1]
    lost = last["outcome"] in LOST and not any(attempt["outcome"] == "lost_node" for attempt in attempts)
    if last["outcome"] in FAILURES or lost:
        record_failure(folder, unit, last["outcome"], last["reason"], attempts)


def _job_after(job: Job, tried: Sequence[Attempt]) -> Job:
    """The job as it is for the next attempt: in less memory once it has run out."""
    short = any(attempt["outcome"] == "out_of_memory" for attempt in tried)
    return replace(job, profile=smaller(job.profile)) if short else job


def _hung(job: Job, unit: Unit) -> dict[str, Any]:
    """What a watchdog said when it ended a worker of the unit; it counts once."""
    path = job.hung_file(unit)
    if not path.exists():
        return {}
    reason = path.read_text(encoding="utf-8")
    path.unlink()
    return {"outcome": "hung", "reason": reason}


def _fit(job: Job, unit: Unit, tried: Sequence[Attempt]) -> dict[str, Any]:
    import ray.train
    import ray.train.torch

    profile = job.profile
    per_worker = {"CPU": profile.cpus_per_worker, "GPU": profile.gpus_per_worker, "memory": placement_group_tag(unit, job.session)}
    trainer = ray.train.torch.TorchTrainer(
        work,
        train_loop_config={"job": job, "unit": unit, "tried": tried, "began": time.time()},
        scaling_config=ray.train.ScalingConfig(
            num_workers=profile.workers_per_run,
            use_gpu=profile.gpus_per_worker > 0 and profile.workers_per_run > 0,
            resources_per_worker={name: amount for name, amount in per_worker.items() if amount} if profile.workers_per_run else None,
            accelerator_type=profile.accelerator_type,
        ),
        # Train would go on from whatever stands under the same name; recovery is by our own checkpoints. Nor may it try again by
        # itself: it does not release a group whose set-up failed, and would wait for the cores that this one holds.
        run_config=ray.train.RunConfig(
            name=f"{unit.id}-{job.session}-{time.time_ns()}",
            storage_path=str(job.work / "train"),
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
        torch_config=ray.train.torch.TorchConfig(
            backend="nccl" if profile.gpus_per_worker else "gloo", timeout_s=int(profile.startup_timeout_sec)
        ),
    )
    try:
        return dict(trainer.fit().return_value)
    except Exception as error:  # whatever a worker raised, here or through Train: told by its kind, with the trace beside the results
        if _is_recorded(job, unit):
            return {"outcome": "done"}
        trace = job.work / "errors" / f"{unit.id}.txt"
        trace.parent.mkdir(parents=True, exist_ok=True)
        trace.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return {**classify(error), **_hung(job, unit), "micro_batch": profile.micro_batch}


def _is_recorded(job: Job, unit: Unit) -> bool:
    """Whether it died only when everything was written: nothing is to be done again, and validation is not opened twice."""
    return not isinstance(unit, LedgerUnit) and recorded_outcome(unit, job.folder) == "done"


def classify(error: BaseException) -> dict[str, Any]:
    """A failed worker group -> its kind and reason. When one worker dies the others fail too, so one that was lost tells for all."""
    in_setup = "GroupStartup" if "_setup_torch_process_group" in str(error) else ""  # by the trace: what is raised there has any type
    causes = [_innermost(cause) for cause in getattr(error, "worker_failures", {}).values()] or [_innermost(error)]
    for outcome, marks in {**FAILURES, **PASSING}.items():
        for cause in causes:
            told = f"{' '.join(kind.__name__ for kind in type(cause).__mro__)} {in_setup}: {cause}"
            if any(mark in told for mark in marks):
                return {"outcome": outcome, "reason": _reason(cause)}
    return {"outcome": "failed", "reason": _reason(causes[0])}


def _innermost(error: BaseException) -> BaseException:
    """What Ray wrapped, however often."""
    for name in ("controller_failure", "health_check_failure", "cause"):
        if isinstance(inner := getattr(error, name, None), BaseException):
            return _innermost(inner)
    return error


def _reason(error: BaseException) -> str:
    """The last line, where Ray's and Python's traces put the error itself; without Ray's guesses at what may have killed a process."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].partition(" Some common causes include")[0]


def record_failure(folder: Path, unit: Unit, outcome: str, reason: str, attempts: Sequence[Attempt] = ()) -> None:
    """A failure that would come again, kept so that the sweep goes on and the tables show the gap."""
    if isinstance(unit, LedgerUnit):
        return
    about: dict[str, Any] = {"stages": [], "attempts": list(attempts)}
    if isinstance(unit, RunUnit):
        config = unit.run.config
        about |= {
            "signature": unit.run.signature,
            "method": config.method,
            "task": config.task,
            "fold": config.corpus.fold,
            "seed": config.seed if config.training else None,
        }
    standing = record_folder(unit, folder)
    standing.mkdir(parents=True, exist_ok=True)
    write_record(standing, {**about, "outcome": outcome, "reason": reason})
