"""Add LoRA to a Thinker and check to which modules it was added."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model

from omnimer_ray.config import LoraConfig
from omnimer_ray.errors import BaseModelError
from omnimer_ray.model.dimensions import PLACEMENTS


class Matched(NamedTuple):
    """Numbers of modules with LoRA in each tower, and of trainable parameters."""

    language: int  # modules
    audio: int
    vision: int
    parameters: int  # trainable

    def __str__(self) -> str:
        return f"LoRA on {self.language} language, {self.audio} audio and {self.vision} vision projections: {self.parameters:,} trainable parameters"


def place_lora(model: Any, lora: LoraConfig, seed: int) -> tuple[Any, Matched]:
    """Return a PeftModel with new adapters: A is drawn from a hash of (seed, module path), B is zero.

    Modules that two placements have in common therefore get the same initial values.
    """
    pattern = "|".join(f"(?:{target.pattern})" for target in PLACEMENTS[lora.placement])
    settings = PeftLoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=pattern, bias="none")
    peft_model = get_peft_model(model, settings)
    for path, module in _adapted(peft_model):
        _draw(module.lora_A["default"].weight, f"{seed}:{path}")
        torch.nn.init.zeros_(module.lora_B["default"].weight)
    return peft_model, _assert_matched(peft_model, lora)


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the trainable parameters by name, in a fixed order."""
    return {name: parameter for name, parameter in sorted(model.named_parameters()) if parameter.requires_grad}


def _adapted(peft_model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in peft_model.named_modules():
        if hasattr(module, "lora_A"):
            yield name.removeprefix("base_model.model."), module


def _draw(weight: torch.nn.Parameter, text: str) -> None:
    """Initialise A by kaiming_uniform(a=sqrt 5), as PEFT does, but with a separate generator seeded by `text`."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1)
    bound = 1 / math.sqrt(weight.shape[1])
    drawn = torch.empty(weight.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        weight.copy_(drawn)


def _assert_matched(peft_model: Any, lora: LoraConfig) -> Matched:
    """Count the matched modules. Check that LoRA is on every projection of the placement's targets and that nothing else is trainable.

    Raises BaseModelError if not: the architecture differs from the one that the patterns are written for.
    """
    paths = [path for path, _ in _adapted(peft_model)]
    config, targets = peft_model.config, PLACEMENTS[lora.placement]
    layers = {
        "language": config.text_config.num_hidden_layers,
        "audio": config.audio_config.encoder_layers,
        "vision": config.vision_config.depth,
    }
    matched = {target: sum(re.fullmatch(target.pattern, path) is not None for path in paths) for target in targets}
    counts = [sum(count for target, count in matched.items() if target.tower == tower) for tower in layers]
    expected = [sum(target.num_projections for target in targets if target.tower == tower) * count for tower, count in layers.items()]
    if counts != expected or len(paths) != sum(expected):
        raise BaseModelError(
            f"LoRA matched {counts} projections of language, audio and vision where {expected} were expected; this version of transformers names its modules differently"
        )
    names = trainable(peft_model)
    assert all("lora_" in name for name in names), "a parameter other than LoRA's is trainable"
    language, audio, vision = counts
    return Matched(language, audio, vision, sum(parameter.numel() for parameter in names.values()))
