"""The base model by name: load, freeze, place LoRA, and assert what was matched."""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import get_peft_model
from safetensors import SafetensorError, safe_open
from transformers import GenerationConfig, Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from omnimer_ray.config import LoraConfig
from omnimer_ray.errors import BaseModelError
from omnimer_ray.model.bases import Base, confirm, on_this_node
from omnimer_ray.model.dimensions import PLACEMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_PARTS = ("talker.", "token2wav.")  # of the full model's checkpoint
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Thinker(NamedTuple):
    """A loaded base: the model (frozen, in eval mode) and the processor that belongs to it."""

    model: Any  # Qwen2_5OmniThinkerForConditionalGeneration
    processor: Any  # Qwen2_5OmniProcessor


class Matched(NamedTuple):
    """What LoRA was placed on."""

    language: int  # modules
    audio: int
    vision: int
    parameters: int  # trainable

    def __str__(self) -> str:
        return f"LoRA on {self.language} language, {self.audio} audio and {self.vision} vision projections: {self.parameters:,} trainable parameters"


def load_thinker(base: Base, precision: str, device: torch.device | str = "cpu") -> Thinker:
    """The Thinker's weights (the talker is never loaded), directly on `device`, and the processor; everything frozen.

    Raises BaseModelError if a file is broken, if weights are missing, left over or of another shape, and if tokenizer and chat
    template are not those of the weights; MachineError if this node does not have the contents that `base` was resolved to.
    """
    base = on_this_node(base)
    try:
        return _load(base, precision, device)
    except BaseModelError as error:
        confirm(base, error)
        raise


def _load(base: Base, precision: str, device: torch.device | str) -> Thinker:
    try:
        _check_files(base)
        model, report = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
            str(base.folder),
            device_map={"": device},  # never as a whole in the memory of the host
            dtype=DTYPES[precision],
            attn_implementation="sdpa",
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are told below, by name
            output_loading_info=True,
        )
        processor = Qwen2_5OmniProcessor.from_pretrained(str(base.folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # all that transformers raises for bad files
        raise BaseModelError(f"base {base.name!r} cannot be loaded: {str(error).splitlines()[0]}; download the checkpoint again") from error
    _check_weights(base, report)
    _check_processor(base, processor, model.config)
    model.generation_config = GenerationConfig()  # a base's own habits, such as a repetition penalty, would change what greedy means
    model.requires_grad_(False)
    return Thinker(model.eval(), processor)


def _check_files(base: Base) -> None:
    """Which shard is cut short: transformers would not say."""
    assert base.folder is not None
    for path in sorted(base.folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            raise BaseModelError(f"base {base.name!r}: {path} is no whole safetensors file ({error}); download it again") from None


def _check_weights(base: Base, report: dict[str, Any]) -> None:
    left_over = [key for key in report["unexpected_keys"] if not key.startswith(OTHER_PARTS)]
    faults = {
        "missing": sorted(report["missing_keys"]),
        "of another shape": sorted(
            f"{name}: {tuple(there)} where {tuple(wanted)} is needed" for name, there, wanted in report["mismatched_keys"]
        ),
        "left over": sorted(left_over),
    }
    if told := [f"{len(names)} {fault} ({names[0]})" for fault, names in faults.items() if names]:
        raise BaseModelError(f"base {base.name!r}: of its weights, {', '.join(told)}; download the checkpoint again")


def _check_processor(base: Base, processor: Any, config: Any) -> None:
    """A tokenizer without its vocabulary, or of another model, loads without a word."""
    if not processor.chat_template:
        raise BaseModelError(f"base {base.name!r} has no chat template; download its chat_template.json, or chat_template.jinja")
    for name, wanted in (("video", config.video_token_id), ("audio", config.audio_token_id)):
        token, there = getattr(processor, f"{name}_token"), getattr(processor, f"{name}_token_id")
        if there != wanted:
            raise BaseModelError(
                f"base {base.name!r}: {token} is token {there} of its tokenizer, but token {wanted} in its config.json; download the checkpoint again"
            )


def place_lora(model: Any, lora: LoraConfig, seed: int) -> tuple[Any, Matched]:
    """A PeftModel with fresh adapters, whose A is drawn from a hash of (seed, module path), B zero: two placements share what they share."""
    pattern = "|".join(f"(?:{target.pattern})" for target in PLACEMENTS[lora.placement])
    settings = PeftLoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=pattern, bias="none")
    peft_model = get_peft_model(model, settings)
    for path, module in _adapted(peft_model):
        _draw(module.lora_A["default"].weight, f"{seed}:{path}")
        torch.nn.init.zeros_(module.lora_B["default"].weight)
    return peft_model, _assert_matched(peft_model, lora)


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """The trainable parameters by name, in a fixed order."""
    return {name: parameter for name, parameter in sorted(model.named_parameters()) if parameter.requires_grad}


def _adapted(peft_model: Any) -> Iterator[tuple[str, Any]]:
    for name, module in peft_model.named_modules():
        if hasattr(module, "lora_A"):
            yield name.removeprefix("base_model.model."), module


def _draw(weight: torch.nn.Parameter, text: str) -> None:
    """kaiming_uniform(a=sqrt 5) as PEFT draws A, from its own generator."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1)
    bound = 1 / math.sqrt(weight.shape[1])
    drawn = torch.empty(weight.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        weight.copy_(drawn)


def _assert_matched(peft_model: Any, lora: LoraConfig) -> Matched:
    """Every projection of the placement's targets, and nothing else trainable; anything else is our mistake or another architecture."""
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
            f"LoRA matched {counts} projections of language, audio and vision where {expected} were expected; this transformers names its modules differently"
        )
    names = trainable(peft_model)
    assert all("lora_" in name for name in names), "something beside LoRA is trainable"
    language, audio, vision = counts
    return Matched(language, audio, vision, sum(parameter.numel() for parameter in names.values()))
