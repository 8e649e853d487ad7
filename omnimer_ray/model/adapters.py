"""Adapters in PEFT's layout: `PeftModel.from_pretrained` loads a stage's folder onto the plain Thinker."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from omnimer_ray.errors import ResultsError
from omnimer_ray.model.bases import Base
from omnimer_ray.model.thinker import trainable
from omnimer_ray.records import write_atomically

WEIGHTS = "adapter_model.safetensors"


def save(model: Any, tensors: dict[str, torch.Tensor], folder: Path, base: Base) -> None:
    """`tensors`: the fp32 parameters of `model` (a PeftModel) by name, as checkpoints.parameters gives them."""
    stored = {_stored(name): value for name, value in tensors.items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(stored, path, metadata={"format": "pt"}))
    settings = copy.copy(model.peft_config["default"])
    settings.inference_mode = True  # as PEFT itself saves it: whoever loads the folder does not train on
    settings.base_model_name_or_path, settings.revision = base.name, base.commit  # PEFT would name a path of this machine
    settings.save_pretrained(str(folder))


def load(model: Any, folder: Path) -> None:
    """Sets a saved adapter into a PeftModel of the same placement.

    Raises ResultsError where the file cannot be read, and where names or shapes differ.
    """
    try:
        stored = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ResultsError(f"{folder / WEIGHTS} cannot be read ({error}); remove {folder}, and the same command makes it again") from None
    names = trainable(model)
    wrong = set(stored) ^ {_stored(name) for name in names}
    wrong |= {_stored(name) for name, parameter in names.items() if not wrong and stored[_stored(name)].shape != parameter.shape}
    if wrong:
        raise ResultsError(
            f"{folder / WEIGHTS} does not fit the run's LoRA: {sorted(wrong)[0]}; it was made with another placement or rank"
        )
    with torch.no_grad():
        for name, parameter in names.items():
            parameter.copy_(stored[_stored(name)])


def _stored(name: str) -> str:
    """PEFT leaves the adapter's own name out of what it stores."""
    return name.replace(".default.", ".")
