"""Machine profiles: where and how fast a sweep runs. Nothing here is part of a run's identity."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml
from pydantic import Field, model_validator

from omnimer_ray.config import Frozen, content_hash, parse
from omnimer_ray.errors import MachineError, near
from omnimer_ray.machine.cards import nvidia_cards

PROFILES = Path(__file__).parents[2] / "cluster"
LABEL_SHARE = 0.001  # of a machine's one accelerator label, which Ray takes for a worker that asks for a type of card


class MachineProfile(Frozen):
    """One YAML file of `cluster/`, checked; `docs` says in a line which machine it is for."""

    docs: str
    address: str | None = None  # of a running Ray cluster, 'auto' for the one this machine belongs to; None starts one here
    workers_per_run: int = Field(1, ge=0)  # 0: one worker in the trial's own process, which saves starting two processes a unit
    cpus_per_worker: float = Field(1.0, gt=0)
    gpus_per_worker: float = Field(0.0, ge=0, le=1)  # a worker is one process on one card, or on a share of it
    accelerator_type: str | None = None  # as Ray spells it, e.g. GeForce-RTX-3090
    micro_batch: int = Field(1, ge=1)  # items of one forward on one worker
    evaluation_batch: int = Field(8, ge=1)  # answers decoded together
    zero_stage: int = Field(2, ge=1, le=2)
    recompute: bool = False  # gradient checkpointing: slower, far less memory
    checkpoint_every: int = Field(10, ge=1)  # optimizer steps
    cache_gib: float = Field(1.0, gt=0)  # media kept in a worker's memory
    threads_per_worker: int = Field(1, ge=1)  # of torch
    step_timeout_sec: float = Field(900, gt=0)  # a worker that finishes no micro-batch and no answer for so long hangs, and is killed
    startup_timeout_sec: float = Field(1800, gt=0)  # the same until its first one: reading the base, building DeepSpeed's op
    max_concurrent_runs: int | None = Field(None, ge=1)  # None: as many as the resources allow
    environment: dict[str, str] = Field(default_factory=dict)  # of every process that Ray starts: NCCL and network settings

    @model_validator(mode="after")
    def _cards_fit(self) -> Self:
        if 0 < self.gpus_per_worker < 1 and self.workers_per_run > 1:
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker:g} does not go with workers_per_run {self.workers_per_run}; "
                "the workers of a run need a card each: use 1"
            )
        if self.accelerator_type is not None and not self.workers_per_run:
            raise ValueError(
                f"accelerator_type {self.accelerator_type} does not go with workers_per_run 0: the trial itself cannot ask for a type of card; use 1"
            )
        return self


class Resources(NamedTuple):
    """What a machine or cluster offers."""

    cpus: float
    gpus: float


def smaller(profile: MachineProfile) -> MachineProfile:
    """The same work in about half the memory: the next smaller micro-batch that divides the old one, so all blocks still split."""
    half = next((size for size in range(profile.micro_batch // 2, 0, -1) if profile.micro_batch % size == 0), 1)
    return profile.model_copy(update={"micro_batch": half, "evaluation_batch": max(1, profile.evaluation_batch // 2)})


def pace(profile: MachineProfile) -> str:
    """Tells profiles apart that run the same work at another speed."""
    return content_hash(profile.model_dump(exclude={"docs", "step_timeout_sec", "startup_timeout_sec"}))


def load_profile(name: str) -> MachineProfile:
    """A profile of `cluster/` by its name, or any YAML file by its path."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if not path.is_file():
        known = [file.stem for file in PROFILES.glob("*.yaml") if _is_profile(file)]
        raise MachineError(f"machine profile {name!r}: no file {path}; {near(name, known, like=Path(name).stem)}")
    return parse(MachineProfile, _read(path), f"machine profile {path}")


def concurrency(profile: MachineProfile, offered: Resources) -> int:
    """How many runs fit at once. Raises MachineError where not even one does."""
    workers = max(1, profile.workers_per_run)
    cpus, gpus = workers * profile.cpus_per_worker, workers * profile.gpus_per_worker
    for what, asked, there in (("cores", cpus, offered.cpus), ("GPUs", gpus, offered.gpus)):
        if asked > there:
            raise MachineError(
                f"the profile asks for {asked:g} {what} a run ({workers} workers), and there are {there:g}; "
                "lower workers_per_run or what a worker takes, or choose a profile that fits this machine"
            )
    fits = min(int(there // asked) for asked, there in ((cpus, offered.cpus), (gpus, offered.gpus)) if asked)
    return min(fits, profile.max_concurrent_runs or fits)


def usable(profile: MachineProfile, nodes: Sequence[Mapping[str, float]]) -> Resources:
    """What the machines of a cluster, as Ray counts them, offer to whole workers: a rest that holds none is left out.

    Raises MachineError where no machine holds a worker: Ray would wait for one for ever.
    """
    held = num_workers(profile, nodes)
    if not held:
        raise MachineError(
            f"no machine of the cluster holds a worker of this profile: it takes {_told(_per_worker(profile))}, "
            f"and they have {'; '.join(map(_told, nodes))}; choose or write a profile that fits them"
        )
    return Resources(held * profile.cpus_per_worker, held * profile.gpus_per_worker)


def num_workers(profile: MachineProfile, nodes: Iterable[Mapping[str, float]]) -> int:
    """Number of workers that nodes hold, each whole on one node; `nodes` are Ray's resource maps."""
    asked = _per_worker(profile)
    fits = (min(int(node.get(name, 0.0) / amount + 1e-6) for name, amount in asked.items()) for node in nodes)  # 1.0 // 0.1 is 9
    return sum(fits)


def _per_worker(profile: MachineProfile) -> dict[str, float]:
    asked = {"CPU": profile.cpus_per_worker, "GPU": profile.gpus_per_worker}
    if profile.accelerator_type:
        asked[f"accelerator_type:{profile.accelerator_type}"] = LABEL_SHARE
    return {name: amount for name, amount in asked.items() if amount}


def local_resources() -> Resources:
    """Return this machine's cores and NVIDIA cards that the process may use; no cards if their driver does not answer."""
    found = nvidia_cards()
    cards = 0 if isinstance(found, str) else len(found)
    return Resources(len(os.sched_getaffinity(0)), min(cards, _visible(os.environ.get("CUDA_VISIBLE_DEVICES"), cards)))


def _visible(devices: str | None, cards: int) -> int:
    """How many cards CUDA_VISIBLE_DEVICES leaves: all where it is not set, none behind a -1."""
    if devices is None:
        return cards
    named = [part.strip() for part in devices.split(",") if part.strip() and part.strip() != "NoDevFiles"]
    return named.index("-1") if "-1" in named else len(named)


def _told(resources: Mapping[str, float]) -> str:
    """The part that profiles know of."""
    known = [name for name in resources if resources[name] and name.startswith(("CPU", "GPU", "accelerator_type:"))]
    return ", ".join(f"{name} {resources[name]:g}" for name in sorted(known)) or "neither cores nor cards"


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
