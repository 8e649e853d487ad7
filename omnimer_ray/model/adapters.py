"""Adapters in PEFT's layout: `PeftModel.from_pretrained` loads a stage's folder onto the plain Thinker."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from omnimer_ray.errors import DivergedError, ResultsError
from omnimer_ray.model.bases import Base
from omnimer_ray.records import check_recorded, write_atomically

WEIGHTS = "adapter_model.safetensors"


def save(model: Any, tensors: dict[str, torch.Tensor], folder: Path, base: Base) -> None:
    """Save an adapter; `tensors` are the fp32 parameters of `model` (a PeftModel) by name, from checkpoints.parameters.

    Raises DivergedError before anything is written if a value is not finite.
    """
    check_finite(tensors)
    stored = get_peft_model_state_dict(model, tensors, save_embedding_layers=False)
    write_atomically(folder / WEIGHTS, lambda path: save_file(stored, path, metadata={"format": "pt"}))
    settings = copy.copy(model.peft_config["default"])
    settings.inference_mode = True  # as PEFT saves it: a loaded adapter is not trainable
    settings.base_model_name_or_path, settings.revision = base.name, base.commit  # PEFT would write a path of this machine
    settings.save_pretrained(str(folder))


def check_finite(tensors: dict[str, torch.Tensor]) -> None:
    """Raise DivergedError if a value is not finite, because such tensors must not be saved."""
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise DivergedError(f"{name} is not finite after training; try a smaller optimizer.learning_rate")


def load(model: Any, folder: Path) -> None:
    """Load a stage's adapter into a PeftModel of the same placement.

    Raises ResultsError if the file cannot be read, if its hash differs from the recorded hash (not checked without a record), or if
    names or shapes differ.
    """
    path = folder / WEIGHTS
    try:
        check_recorded(path)
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ResultsError(f"{path} cannot be read ({error}); remove {folder}, and the same command makes it again") from None
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    mismatched = set(stored) ^ set(expected) or {name for name, value in expected.items() if stored[name].shape != value.shape}
    if mismatched:
        raise ResultsError(f"{path} does not fit the run's LoRA: {min(mismatched)}; it was made with another placement or rank")
    set_peft_model_state_dict(model, stored)
