"""Contents of the records and cost files that a worker writes for its unit."""

from __future__ import annotations

import contextlib
import gc
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omnimer_ray.config import RECIPE_VERSION, ThinkerConfig, of_thinker
from omnimer_ray.corpora.select import evaluated_split
from omnimer_ray.machine.profile import MachineProfile, pace
from omnimer_ray.planning.units import Run, Stage
from omnimer_ray.records import read_record, registered, write_json
from omnimer_ray.tasks.instructions import Style, prompts_hash
from omnimer_ray.training.schedule import Schedule

PACKAGES = ("ray", "torch", "transformers", "peft", "deepspeed", "qwen-omni-utils")


def stage_record(stage: Stage, schedule: Schedule, matched: str, ledger_hash: str | None, num_workers: int) -> dict[str, Any]:
    """Return the record of a trained stage. `matched`: where LoRA was placed; `ledger_hash`: of the supervision that it was trained on."""
    config = of_thinker(stage.config)
    return {
        **_of_stage(stage, num_workers),
        "num_items": {kind: len(items) for kind, items in schedule.items.items()},
        "seen_items": schedule.seen_items,
        "num_steps": schedule.num_steps,
        "matched": matched,
        "ledger_hash": ledger_hash,
        "prompts": prompts_hash(stage.kinds, Style.of(config)),
        "task_prompts": prompts_hash([config.task], Style.of(config)) if config.task in stage.kinds else None,
    }


def fusion_record(stage: Stage, num_items: int, seen_items: int, num_steps: int, about: str, num_workers: int) -> dict[str, Any]:
    """Return the record of a network that was trained on features, or of a probe that was fitted to them. `about`: what it is, to print."""
    counts = {"num_items": {stage.config.task: num_items}, "seen_items": {stage.config.task: seen_items}, "num_steps": num_steps}
    return {**_of_stage(stage, num_workers), **counts, "matched": about, "features": [feature.key for feature in stage.features]}


def _of_stage(stage: Stage, num_workers: int) -> dict[str, Any]:
    return {
        "key": stage.key,
        "outcome": "done",
        "kinds": list(stage.kinds),
        "predecessor": stage.predecessor,
        "config": stage.config.model_dump(mode="json"),
        **environment_info(num_workers),
    }


def run_record(run: Run, folder: Path, num_workers: int) -> dict[str, Any]:
    """Return the record of an evaluated run; `folder` holds the records of its stages."""
    config = run.config
    stages = [read_record(folder / "stages" / stage.key) or {} for stage in run.stages]
    return {
        "signature": run.signature,
        "outcome": "done",
        "reason": None,
        "method": config.method,
        "task": config.task,
        "fold": config.corpus.fold,
        "seed": config.seed if config.seeded else None,
        "stages": [stage.key for stage in run.stages],
        "main_items": sum(stage["seen_items"].get(config.task, 0) for stage in stages)
        if all("seen_items" in stage for stage in stages)
        else None,
        "num_steps": sum(stage.get("num_steps", 0) for stage in stages),
        "observed": config.observed.model_dump(mode="json"),
        "validation_opened": "once, to report" if evaluated_split(config) == config.corpus.reported else "none",
        "registration": registered(folder),
        **(_prompts(config, stages) if isinstance(config, ThinkerConfig) else {}),
        **environment_info(num_workers),
    }


def _prompts(config: ThinkerConfig, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The prompt that a run is evaluated with, and whether it is that of the training."""
    return {"prompts": prompts_hash([config.task], Style.of(config)), "same_prompts": _same_prompts(config, stages)}


def _same_prompts(config: ThinkerConfig, stages: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether the main task was trained with the prompts that it is evaluated with; None without training, or if an older record does not say."""
    trained = {stage["task_prompts"] for stage in stages if config.task in stage.get("kinds", ()) and "task_prompts" in stage}
    return trained == {prompts_hash([config.task], Style.of(config))} if trained else None


def write_cost(
    folder: Path,
    profile: MachineProfile,
    sec: float,
    num_workers: int,
    attempts: Sequence[Mapping[str, Any]],
    timings: Mapping[str, float],
    method: str = "thinker",
) -> None:
    """Write cost.json: the time of this attempt, where it ran, and the failed attempts before it. No part of any identity or score."""
    about = {"method": method, "sec": round(sec, 1), "workers": num_workers, "pace": pace(profile), "attempts": list(attempts), **_node()}
    write_json(folder / "cost.json", {**about, **{name: round(value, 2) for name, value in timings.items()}})


def environment_info(num_workers: int) -> dict[str, Any]:
    """Return versions, device and peak memory of this worker. No part of any identity."""
    import torch

    return {
        "recipe_version": RECIPE_VERSION,
        "workers": num_workers,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
        "attention": "sdpa",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        **peak_memory(),
    }


def forget_earlier_units() -> None:
    """Free what an earlier unit of this process has left, and forget its peaks."""
    import torch

    gc.collect()
    with contextlib.suppress(OSError):  # not Linux, or a container that forbids it: the peak is that of all its units
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, float | None]:
    """Return the peak memory of this process in GiB, of the host and of the device (None without a card); older records have the host's as `peak_memory_gib`."""
    import resource

    import torch

    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    card = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    return {"peak_host_memory_gib": round(host, 2), "peak_device_memory_gib": None if card is None else round(card, 2)}


def _node() -> dict[str, str]:
    """Return the machine of this worker, and its node in Ray."""
    import ray

    return {"host": platform.node(), "node": ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""}
