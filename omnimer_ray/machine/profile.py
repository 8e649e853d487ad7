"""Machine profiles: where and how fast a sweep runs. No field of a profile is part of a run's identity."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import yaml
from pydantic import Field, model_validator

from omnimer_ray.config import Frozen, content_hash, parse
from omnimer_ray.errors import MachineError, near
from omnimer_ray.machine.cards import nvidia_cards

PROFILES = Path(__file__).parents[2] / "cluster"
LABEL_SHARE = 0.001  # fraction of a node's accelerator label that Ray requests for a worker with an accelerator type


class MachineProfile(Frozen):
    """A validated YAML file of `cluster/`; `docs` describes in one line the machine that it is for."""

    docs: str
    address: str | None = None  # address of a running Ray cluster, 'auto' for this machine's cluster; None: start Ray on this machine
    workers_per_run: int = Field(1, ge=0)  # 0: one worker in the trial's own process, which saves starting two processes per unit
    cpus_per_worker: float = Field(1.0, gt=0)
    gpus_per_worker: float = Field(0.0, ge=0, le=1)  # a worker is one process on one card, or on a fraction of it
    accelerator_type: str | None = None  # in Ray's spelling, e.g. GeForce-RTX-3090
    micro_batch: int = Field(1, ge=1)  # items per forward pass on one worker
    evaluation_batch: int = Field(8, ge=1)  # answers decoded together
    ledger_shards: int = Field(1, ge=1)  # units that build one instruction's supervision side by side
    zero_stage: int = Field(2, ge=1, le=2)
    recompute: bool | Literal["always"] = False  # gradient checkpointing; true: of micro-batches that need it by the memory estimate
    checkpoint_every: int = Field(10, ge=1)  # optimizer steps
    cache_gib: float = Field(1.0, gt=0)  # media cached in a worker's memory
    features_gib: float = Field(32.0, ge=0)  # of the frozen vision tower's outputs kept beside the results; 0: none, it runs at every step
    peak_tflops: float | None = Field(None, gt=0)  # of a card in the base's precision; only a forecast before anything is measured uses it
    threads_per_worker: int = Field(1, ge=1)  # threads of torch
    step_timeout_sec: float = Field(900, gt=0)  # a worker that finishes no micro-batch and no answer within this time is killed as hung
    startup_timeout_sec: float = Field(1800, gt=0)  # the same before the first micro-batch: loading the base, building DeepSpeed's op
    max_concurrent_runs: int | None = Field(None, ge=1)  # None: as many as the resources allow
    environment: dict[str, str] = Field(default_factory=dict)  # for every process that Ray starts: NCCL and network settings

    @model_validator(mode="after")
    def _cards_fit(self) -> Self:
        if 0 < self.gpus_per_worker < 1 and self.workers_per_run > 1:
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker:g} cannot be combined with workers_per_run {self.workers_per_run}, "
                "because each worker of a run needs its own card; use 1"
            )
        if self.accelerator_type is not None and not self.workers_per_run:
            raise ValueError(
                f"accelerator_type {self.accelerator_type} cannot be combined with workers_per_run 0, because Ray cannot assign a type of card to a trial; use 1"
            )
        return self


class Resources(NamedTuple):
    """Cores and cards of a machine or cluster."""

    cpus: float
    gpus: float


def smaller(profile: MachineProfile) -> MachineProfile:
    """Profile for about half the memory: the next smaller micro-batch that divides the old one, so that blocks still split evenly.

    What was recomputed where the estimate says so is now recomputed always.
    """
    half = next((size for size in range(profile.micro_batch // 2, 0, -1) if profile.micro_batch % size == 0), 1)
    recompute = "always" if profile.recompute else False
    return profile.model_copy(
        update={"micro_batch": half, "evaluation_batch": max(1, profile.evaluation_batch // 2), "recompute": recompute}
    )


def pace(profile: MachineProfile) -> str:
    """Hash of all settings that affect the speed of a run."""
    return content_hash(profile.model_dump(exclude={"docs", "step_timeout_sec", "startup_timeout_sec", "ledger_shards", "peak_tflops"}))


def load_profile(name: str) -> MachineProfile:
    """Load a profile of `cluster/` by its name, or any YAML file by its path."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = [file.stem for file in PROFILES.glob("*.yaml") if _is_profile(file)]
        raise MachineError(f"machine profile {name!r}: no file {path}; {near(name, known, like=Path(name).stem)}")
    return parse(MachineProfile, _read(path), f"machine profile {path}")


def shipped_profiles() -> dict[str, MachineProfile]:
    """The profiles of `cluster/` by their names."""
    return {file.stem: load_profile(file.stem) for file in sorted(PROFILES.glob("*.yaml")) if _is_profile(file)}


def concurrency(profile: MachineProfile, offered: Resources) -> int:
    """Number of runs that fit at the same time. Raises MachineError if not even one fits."""
    workers = max(1, profile.workers_per_run)
    cpus, gpus = workers * profile.cpus_per_worker, workers * profile.gpus_per_worker
    for unit, needed, available in (("cores", cpus, offered.cpus), ("GPUs", gpus, offered.gpus)):
        if needed > available:
            raise MachineError(
                f"the profile asks for {needed:g} {unit} a run ({workers} workers), and there are {available:g}; "
                "lower workers_per_run, cpus_per_worker or gpus_per_worker, or choose a profile that fits this machine"
            )
    fits = min(int(available // needed) for needed, available in ((cpus, offered.cpus), (gpus, offered.gpus)) if needed)
    return min(fits, profile.max_concurrent_runs or fits)


def usable(profile: MachineProfile, nodes: Sequence[Mapping[str, float]]) -> Resources:
    """Resources of a cluster that whole workers can use, from Ray's resource maps of its nodes; a remainder too small for one is left out.

    Raises MachineError if no node fits a worker, because Ray would wait for such a node forever.
    """
    workers = num_workers(profile, nodes)
    if not workers:
        raise MachineError(
            f"no machine of the cluster fits a worker of this profile: it needs {_describe(_per_worker(profile))}, "
            f"and the machines have {'; '.join(map(_describe, nodes))}; choose or write a profile that fits them"
        )
    return Resources(workers * profile.cpus_per_worker, workers * profile.gpus_per_worker)


def num_workers(profile: MachineProfile, nodes: Iterable[Mapping[str, float]]) -> int:
    """Number of workers that fit on the nodes, each worker on a single node; `nodes` are Ray's resource maps."""
    needed = _per_worker(profile)
    fits = (min(int(node.get(name, 0.0) / amount + 1e-6) for name, amount in needed.items()) for node in nodes)  # 1.0 // 0.1 is 9
    return sum(fits)


def _per_worker(profile: MachineProfile) -> dict[str, float]:
    needed = {"CPU": profile.cpus_per_worker, "GPU": profile.gpus_per_worker}
    if profile.accelerator_type:
        needed[f"accelerator_type:{profile.accelerator_type}"] = LABEL_SHARE
    return {name: amount for name, amount in needed.items() if amount}


def local_resources() -> Resources:
    """Return the cores and NVIDIA cards that this process may use; no cards if nvidia-smi fails."""
    found = nvidia_cards()
    cards = 0 if isinstance(found, str) else len(found)
    return Resources(len(os.sched_getaffinity(0)), min(cards, _visible(os.environ.get("CUDA_VISIBLE_DEVICES"), cards)))


def _visible(devices: str | None, cards: int) -> int:
    """Number of cards visible under CUDA_VISIBLE_DEVICES: all if it is not set; a -1 hides the entries after it."""
    if devices is None:
        return cards
    named = [part.strip() for part in devices.split(",") if part.strip() and part.strip() != "NoDevFiles"]
    return named.index("-1") if "-1" in named else len(named)


def _describe(resources: Mapping[str, float]) -> str:
    """Text of the resources that a profile can request."""
    known = [name for name in resources if resources[name] and name.startswith(("CPU", "GPU", "accelerator_type:"))]
    return ", ".join(f"{name} {resources[name]:g}" for name in sorted(known)) or "no cores and no cards"


def _is_profile(path: Path) -> bool:
    data = _read(path)
    return isinstance(data, dict) and "micro_batch" in data


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MachineError(f"machine profile {path} is not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise MachineError(f"machine profile {path} is not valid YAML: nested too deeply") from None
