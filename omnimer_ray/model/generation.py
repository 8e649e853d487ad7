"""Batched decoding of answers: greedy, or sampled with random numbers of each item's own."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from omnimer_ray.model.inputs import END_OF_TURN, Encoded, Encoder, collate
from omnimer_ray.model.thinker import Thinker


class Noise(LogitsProcessor):  # type: ignore[misc]
    """Gumbel noise on the logits: their arg-max is then a sample. Each row's noise comes from its own seed, so no row depends on its batch."""

    def __init__(self, seeds: Sequence[str], temperature: float) -> None:
        """`seeds`: any text, one of each row."""
        self.temperature = temperature
        self.generators = [torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7])) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores` (B, V) of the next token."""
        drawn = [torch.empty(scores.shape[1]).exponential_(generator=generator) for generator in self.generators]
        return scores / self.temperature - torch.stack(drawn).log().to(scores)


def generate(thinker: Thinker, encoder: Encoder, items: Sequence[Encoded], max_new_tokens: int, noise: Noise | None = None) -> list[str]:
    """Decode the answers of items of one kind in one batch, greedily or with noise; return the text up to the end of the turn."""
    tokenizer = encoder.tokenizer
    device = next(thinker.model.parameters()).device
    inputs = collate(items, tokenizer.pad_token_id, "left", device)
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    with torch.no_grad(), last_position_only(thinker.model):
        tokens = thinker.model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_new_tokens,
            eos_token_id=end,
            pad_token_id=tokenizer.pad_token_id,
            use_cache=True,
            logits_processor=LogitsProcessorList([noise] if noise else []),
        )
    generated = tokens[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(generated, skip_special_tokens=True)]


@contextlib.contextmanager
def last_position_only(model: Any) -> Iterator[None]:
    """Temporarily project only the last position onto the vocabulary, because greedy decoding reads no other logits.

    For a prompt of 9,000 tokens, the 7B's logits at the other positions take 2.6 GiB. transformers has `logits_to_keep` for this, but
    not in the Thinker's forward.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hook = base.lm_head.register_forward_pre_hook(lambda module, given: (given[0][:, -1:],))  # (B, L, D) -> (B, 1, D)
    try:
        yield
    finally:
        hook.remove()


def in_batches(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Yield consecutive slices of at most `size` values."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
