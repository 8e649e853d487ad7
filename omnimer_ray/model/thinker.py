"""Load a resolved base: the frozen Thinker and its processor, checked for consistency."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from transformers import GenerationConfig, Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from omnimer_ray.errors import BaseModelError
from omnimer_ray.model.bases import Base, confirm, find_on_this_node

OTHER_PARTS = ("talker.", "token2wav.")  # prefixes of the full model's weights that are not loaded
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Thinker(NamedTuple):
    """A loaded base: the model (frozen, in eval mode) and its processor."""

    model: Any  # Qwen2_5OmniThinkerForConditionalGeneration
    processor: Any  # Qwen2_5OmniProcessor


def load_thinker(base: Base, precision: str, device: torch.device | str = "cpu") -> Thinker:
    """Load the processor and the Thinker's weights (never the talker), frozen, directly onto `device`.

    Raises BaseModelError if a file is broken, if weights are missing, unexpected or of another shape, or if tokenizer and chat template
    do not match the weights; MachineError if this node does not have the contents that `base` was resolved to.
    """
    base = find_on_this_node(base)
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
            device_map={"": device},  # avoids a full copy in host memory
            dtype=DTYPES[precision],
            attn_implementation="sdpa",
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            output_loading_info=True,
        )
        processor = Qwen2_5OmniProcessor.from_pretrained(str(base.folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # the errors that transformers raises for bad files
        raise BaseModelError(f"base {base.name!r} cannot be loaded: {str(error).splitlines()[0]}; download the checkpoint again") from error
    _check_weights(base, report)
    _check_processor(base, processor, model.config)
    model.generation_config = GenerationConfig()  # a base's own settings, such as a repetition penalty, would change greedy decoding
    model.requires_grad_(False)
    return Thinker(model.eval(), processor)


def _check_files(base: Base) -> None:
    """Raise BaseModelError naming a truncated shard, because transformers' own error does not name it."""
    assert base.folder is not None
    for path in sorted(base.folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            raise BaseModelError(f"base {base.name!r}: {path} is not a complete safetensors file ({error}); download it again") from None


def _check_weights(base: Base, report: dict[str, Any]) -> None:
    unexpected = [key for key in report["unexpected_keys"] if not key.startswith(OTHER_PARTS)]
    names_of = {
        "missing": sorted(report["missing_keys"]),
        "of another shape": sorted(
            f"{name}: {tuple(found)} where {tuple(expected)} is needed" for name, found, expected in report["mismatched_keys"]
        ),
        "unexpected": sorted(unexpected),
    }
    if reasons := [f"{len(names)} {fault} ({names[0]})" for fault, names in names_of.items() if names]:
        raise BaseModelError(f"base {base.name!r} has wrong weights: {', '.join(reasons)}; download the checkpoint again")


def _check_processor(base: Base, processor: Any, config: Any) -> None:
    """Check the chat template and the media tokens, because a tokenizer without vocabulary or of another model loads without an error."""
    if not processor.chat_template:
        raise BaseModelError(f"base {base.name!r} has no chat template; download its chat_template.json, or chat_template.jinja")
    for name, expected in (("video", config.video_token_id), ("audio", config.audio_token_id)):
        token, found = getattr(processor, f"{name}_token"), getattr(processor, f"{name}_token_id")
        if found != expected:
            raise BaseModelError(
                f"base {base.name!r}: {token} is token {found} of its tokenizer, but token {expected} in its config.json; download the checkpoint again"
            )
