"""How often the expensive things are done, and how many operations that are: hooks on the model and on the media, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

COUNTS = (
    "model loads",
    "decodes",
    "mel computations",
    "vision tower passes",
    "audio tower passes",
    "token passes, padding included",
    "of them padding",
    "vocabulary rows",
    "decode steps",
)


@contextmanager
def counted(flops: bool) -> Iterator[dict[str, float]]:
    """Count everything that is done inside, for models that are loaded inside; with `flops` also the operations, which is slow."""
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.naive import padded_mel
    from omnimer_ray.media.load import _ask, log_mel
    from omnimer_ray.model.thinker import load_thinker

    counts = dict.fromkeys(COUNTS, 0.0)

    def loaded(*given: Any, **named: Any) -> Any:
        counts["model loads"] += 1
        thinker = load_thinker(*given, **named)
        watch(thinker.model, thinker.processor.tokenizer.pad_token_id, counts)
        return thinker

    def asked(operation: str, *given: Any) -> Any:
        counts["decodes"] += operation in ("video", "audio")
        return _ask(operation, *given)

    def mel(make: Any) -> Any:
        def made(wave: Any) -> Any:
            counts["mel computations"] += 1
            return make(wave)

        return made

    with ExitStack() as stack:
        for place, replacement in (
            ("omnimer_ray.model.thinker.load_thinker", loaded),
            ("benchmarks.naive.load_thinker", loaded),
            ("omnimer_ray.media.load._ask", asked),
            ("benchmarks.naive._ask", asked),
            ("omnimer_ray.media.load.log_mel", mel(log_mel)),
            ("benchmarks.naive.padded_mel", mel(padded_mel)),
        ):
            stack.enter_context(patch(place, replacement))
        counter = stack.enter_context(FlopCounterMode(display=False, custom_mapping=attention_formulas())) if flops else None
        yield counts
        if counter is not None:
            counts["operations"] = float(counter.get_total_flops())


def watch(model: Any, pad_token: int, counts: dict[str, float]) -> None:
    """Hooks on the parts of a Thinker. A layer that is recomputed counts again, so tokens are those that pass the first layer."""

    def on_model(module: Any, given: Any, named: dict[str, Any]) -> None:
        ids = named["input_ids"]
        counts["decode steps"] += ids.shape[1] == 1
        counts["of them padding"] += int((ids == pad_token).sum()) if ids.shape[1] > 1 else 0

    def on_layer(module: Any, given: Any, named: dict[str, Any]) -> None:
        states = given[0] if given else named["hidden_states"]
        counts["token passes, padding included"] += states.shape[0] * states.shape[1]

    def on_head(module: Any, given: Any) -> None:
        counts["vocabulary rows"] += given[0].numel() // given[0].shape[-1]

    def on_tower(name: str, items: str) -> Any:
        def hook(module: Any, given: Any, named: dict[str, Any]) -> None:
            counts[name] += len(named[items])

        return hook

    parts = model.model
    parts.register_forward_pre_hook(on_model, with_kwargs=True)
    parts.language_model.layers[0].register_forward_pre_hook(on_layer, with_kwargs=True)
    model.lm_head.register_forward_pre_hook(on_head)
    parts.visual.register_forward_pre_hook(on_tower("vision tower passes", "grid_thw"), with_kwargs=True)
    parts.audio_tower.register_forward_pre_hook(on_tower("audio tower passes", "feature_lens"), with_kwargs=True)


def attention_formulas() -> dict[Any, Any]:
    """Operations of the CPU's attention kernel, which torch's counter does not know: two products forward, five backward."""
    import torch

    def forward(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
        batch, heads, length, width = query
        return int(2 * 2 * batch * heads * length * key[2] * width)

    def backward(grad: Any, query: Any, key: Any, *rest: Any, **named: Any) -> int:
        batch, heads, length, width = query
        return int(5 * 2 * batch * heads * length * key[2] * width)

    kernels = torch.ops.aten
    return {
        kernels._scaled_dot_product_flash_attention_for_cpu: forward,
        kernels._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
