"""The process of a worker: its watchdog, process group, threads and memory, around the work of one unit or of several, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.execution.feature_worker import FeatureWorker
from omnimer_ray.execution.fusion_worker import FusionWorker
from omnimer_ray.execution.handout import Job
from omnimer_ray.execution.unit_records import forget_earlier_units
from omnimer_ray.execution.unit_worker import UnitWorker
from omnimer_ray.execution.watchdog import Watchdog
from omnimer_ray.execution.worker import ThinkerWorker
from omnimer_ray.planning.units import FeatureUnit, Unit, trained_stage


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Ray Train's training function: one worker's part of a unit, killed by a watchdog if it hangs."""
    job, unit = config["job"], config["unit"]
    stage = trained_stage(unit)
    progress = [job.progress_file(unit), *([job.folder / "stages" / stage.key / "history.jsonl"] if stage else [])]
    with Watchdog(progress, job.profile.startup_timeout_sec, job.profile.step_timeout_sec, job.hung_file(unit)) as watchdog:
        return _work(job, unit, config["attempts"], config["began"], watchdog.beat)


def _work(job: Job, unit: Unit, attempts: Sequence[dict[str, Any]], began: float, beat: Callable[[], None]) -> dict[str, Any]:
    import torch
    import torch.distributed as dist

    from omnimer_ray.training.loop import init_single_process_group, leave_single_process_group

    forget_earlier_units()
    init_single_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.set_num_threads(job.profile.threads_per_worker)
    try:
        return _kind(unit)(job, unit, dist.get_rank(), dist.get_world_size(), attempts, began, beat).execute()
    finally:
        if not job.profile.workers_per_run:  # this process may do other units
            leave_single_process_group()


def _kind(unit: Unit) -> type[UnitWorker]:
    """The learner half of each method, and what computes features."""
    if isinstance(unit, FeatureUnit):
        return FeatureWorker
    return ThinkerWorker if isinstance(unit.config, ThinkerConfig) else FusionWorker
