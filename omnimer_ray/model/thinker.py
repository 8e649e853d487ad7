"""Load a resolved base: the frozen Thinker and its processor, checked against each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from transformers import GenerationConfig, Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from omnimer_ray.errors import BaseModelError
from omnimer_ray.model.bases import Base, confirm, on_this_node

OTHER_PARTS = ("talker.", "token2wav.")  # of the full model's checkpoint
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Thinker(NamedTuple):
    """A loaded base: the model (frozen, in eval mode) and the processor that belongs to it."""

    model: Any  # Qwen2_5OmniThinkerForConditionalGeneration
    processor: Any  # Qwen2_5OmniProcessor


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
