"""Adapters in PEFT's layout: `PeftModel.from_pretrained` loads a stage's folder onto the plain Thinker."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from omnimer_ray.errors import DivergedError, ResultsError
from omnimer_ray.model.bases import Base
from omnimer_ray.model.lora import trainable
from omnimer_ray.records import check_recorded, write_atomically

WEIGHTS = "adapter_model.safetensors"


def save(model: Any, tensors: dict[str, torch.Tensor], folder: Path, base: Base) -> None:
    """`tensors`: the fp32 parameters of `model` (a PeftModel) by name, as checkpoints.parameters gives them.

    Raises DivergedError before anything is written if a value is not finite.
    """
    check_finite(tensors)
    stored = {_stored(name): value for name, value in tensors.items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(stored, path, metadata={"format": "pt"}))
    settings = copy.copy(model.peft_config["default"])
    settings.inference_mode = True  # as PEFT itself saves it: whoever loads the folder does not train on
    settings.base_model_name_or_path, settings.revision = base.name, base.commit  # PEFT would name a path of this machine
    settings.save_pretrained(str(folder))


def check_finite(tensors: dict[str, torch.Tensor]) -> None:
    """Raise DivergedError if a value is not finite: such tensors are never saved."""
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise DivergedError(f"{name} is not finite after training; try a smaller optimizer.learning_rate")


def load(model: Any, folder: Path) -> None:
    """Set a stage's adapter into a PeftModel of the same placement.

    Raises ResultsError if the file cannot be read, if its hash is not the recorded one (a folder without a record has none), and if
    names or shapes differ.
    """
    path = folder / WEIGHTS
    try:
        check_recorded(path)
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ResultsError(f"{path} cannot be read ({error}); remove {folder}, and the same command makes it again") from None
    names = trainable(model)
    wrong = set(stored) ^ {_stored(name) for name in names}
    wrong |= {_stored(name) for name, parameter in names.items() if not wrong and stored[_stored(name)].shape != parameter.shape}
    if wrong:
        raise ResultsError(f"{path} does not fit the run's LoRA: {sorted(wrong)[0]}; it was made with another placement or rank")
    with torch.no_grad():
        for name, parameter in names.items():
            parameter.copy_(stored[_stored(name)])


def _stored(name: str) -> str:
    """PEFT leaves the adapter's own name out of what it stores."""
    return name.replace(".default.", ".")
