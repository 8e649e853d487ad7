"""Training checkpoints: the fp32 trainable parameters and their Adam moments in safetensors, with the step number.

Checkpoints do not depend on the number of workers, and loading them unpickles nothing. The newest two are kept. Hashes are checked.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state, safe_set_full_fp32_param, safe_set_full_optimizer_state
from safetensors import safe_open
from safetensors.torch import save_file

from omnimer_ray.errors import ResultsError
from omnimer_ray.model.adapters import check_finite
from omnimer_ray.model.lora import trainable
from omnimer_ray.records import check_recorded, file_hash, read_json, write_atomically, write_json
from omnimer_ray.training.ranks import broadcast_from_rank_0

CARRIED = "optimizer.safetensors"  # in the folder of a stage whose optimizer state the next one starts from
MOMENTS = ("exp_avg", "exp_avg_sq")
NUM_KEPT = 2


class Carried(NamedTuple):
    """The optimizer state at the end of the stage before."""

    path: Path
    steps: int  # that AdamW has taken


def save(engine: Any, folder: Path, identity: str, step: int) -> None:
    """Write `folder/checkpoints/<step>/` atomically, then delete the oldest checkpoints. Called on every rank; rank 0 writes.

    Raises DivergedError on every rank, before anything is written, if a value is not finite.
    """
    tensors = _gather(engine)
    check_finite(tensors)
    if dist.get_rank() == 0:
        checkpoint = folder / "checkpoints" / f"{step:06d}"
        write_atomically(checkpoint / "state.safetensors", lambda path: save_file(tensors, path))
        write_json(
            checkpoint / "checkpoint.json", {"identity": identity, "step": step, "hash": file_hash(checkpoint / "state.safetensors")}
        )
        for old in _existing(folder)[:-NUM_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    dist.barrier()


def save_carried(engine: Any, folder: Path) -> None:
    """Write the state for the next stage. Called on every rank; rank 0 writes."""
    tensors = _gather(engine)
    if dist.get_rank() == 0:
        write_atomically(folder / CARRIED, lambda path: save_file(tensors, path))
    dist.barrier()


def load(engine: Any, folder: Path, identity: str, device: str, carried: Carried | None = None) -> int:
    """Load the newest valid checkpoint into the engine and return its step, or 0 if there is none. Called on every rank.

    AdamW counts its steps from those that were carried over; without a checkpoint the carried state is loaded.
    Raises ResultsError for a checkpoint of another stage, which must never be trained further by mistake.
    """
    newest = broadcast_from_rank_0(lambda: _newest(folder, identity))
    before = carried.steps if carried else 0
    if newest is None:
        if carried is not None:
            check_recorded(carried.path)
            _set(engine, carried.path, before, device)
        return 0
    _set(engine, newest / "state.safetensors", before + int(newest.name), device)
    return int(newest.name)


def _newest(folder: Path, identity: str) -> Path | None:
    for checkpoint in reversed(_existing(folder)):
        about = read_json(checkpoint / "checkpoint.json")
        if about["identity"] != identity:
            raise ResultsError(f"{checkpoint} belongs to stage {about['identity']}, not {identity}; delete it to restart the stage")
        state = checkpoint / "state.safetensors"
        if state.exists() and file_hash(state) == about["hash"]:
            return checkpoint
    return None


def delete(folder: Path) -> None:
    """Delete the checkpoints of a finished stage."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _existing(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "checkpoints").glob("[0-9]*") if (path / "checkpoint.json").exists())


def parameters(engine: Any) -> dict[str, torch.Tensor]:
    """Return the full fp32 trainable parameters by name, on the CPU. Raises DivergedError on every rank if a value is not finite."""
    tensors = _parameters(engine)
    check_finite(tensors)
    return tensors


def _parameters(engine: Any) -> dict[str, torch.Tensor]:
    return {name: _full(safe_get_full_fp32_param(parameter)) for name, parameter in trainable(engine.module.model).items()}


def _gather(engine: Any) -> dict[str, torch.Tensor]:
    tensors = {f"parameter.{name}": value for name, value in _parameters(engine).items()}
    for name, parameter in trainable(engine.module.model).items():
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = _full(safe_get_full_optimizer_state(parameter, moment))
    return tensors


def _full(value: torch.Tensor) -> torch.Tensor:
    return value.detach().float().cpu().clone().contiguous()


def _set(engine: Any, path: Path, step: int, device: str) -> None:
    """Load a checkpoint's tensors into the engine.

    DeepSpeed creates the optimizer state at the first step, so a step with zero gradients and learning rate 0 is taken before.
    """
    _make_optimizer_state(engine)
    with safe_open(path, framework="pt") as file:
        for name, parameter in trainable(engine.module.model).items():
            for moment in MOMENTS:
                safe_set_full_optimizer_state(parameter, file.get_tensor(f"{moment}.{name}").to(device), moment)
            value = file.get_tensor(f"parameter.{name}").to(device)
            safe_set_full_fp32_param(parameter, value)
            with torch.no_grad():
                parameter.copy_(value.view(parameter.shape))
    for state in engine.optimizer.optimizer.state.values():
        if "step" in state:
            state["step"].fill_(step)


def _make_optimizer_state(engine: Any) -> None:
    zero = engine.optimizer
    rates = [group["lr"] for group in zero.optimizer.param_groups]
    for group, partition in zip(zero.optimizer.param_groups, zero.single_partition_of_fp32_groups, strict=True):
        group["lr"] = 0.0
        partition.grad = torch.zeros_like(partition)
    zero.optimizer.step()
    zero._lazy_init_hp_params_optimizer_state()
    for group, rate, partition in zip(zero.optimizer.param_groups, rates, zero.single_partition_of_fp32_groups, strict=True):
        group["lr"] = rate
        partition.grad = None
