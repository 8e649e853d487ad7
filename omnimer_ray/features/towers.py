"""Last states of the base's towers: what the frozen base makes of a view. T tokens, D the width of the language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, assert_never

import torch
from numpy.typing import NDArray

from omnimer_ray.corpora.clips import Clip

if TYPE_CHECKING:
    from omnimer_ray.model.inputs import MediaEncoder
    from omnimer_ray.model.thinker import Thinker


def states(tower: Literal["vision", "audio", "language"], thinker: Thinker, encoder: MediaEncoder, clip: Clip) -> NDArray[Any]:
    """Return a tower's states, (T, D): float32, or bf16 as uint16."""
    match tower:
        case "vision":
            return vision(thinker, encoder, clip)
        case "audio":
            return _audio(thinker, encoder, clip)
        case "language":
            return _language(thinker, encoder, clip)
        case unknown:
            assert_never(unknown)


def vision(thinker: Thinker, encoder: MediaEncoder, clip: Clip) -> NDArray[Any]:
    """Video tokens as the language model receives them."""
    tower, media = thinker.model.model.visual, encoder.media_tensors(clip)
    with torch.no_grad():
        pixels = media.pixels.to(tower.device, tower.dtype)
        return _array(tower(pixels, grid_thw=media.grid[None].to(tower.device)).pooler_output)


def _audio(thinker: Thinker, encoder: MediaEncoder, clip: Clip) -> NDArray[Any]:
    """Sound tokens as the language model receives them."""
    model, mel = thinker.model.model, encoder.media_tensors(clip).mel[None].to(thinker.model.device)
    with torch.no_grad():
        mask = torch.ones(mel.shape[0], mel.shape[2], dtype=torch.long, device=mel.device)
        return _array(model.get_audio_features(mel.to(thinker.model.dtype), feature_attention_mask=mask).last_hidden_state)


def _language(thinker: Thinker, encoder: MediaEncoder, clip: Clip) -> NDArray[Any]:
    """States of the transcript's tokens; one zero state of an empty transcript."""
    ids = torch.tensor([encoder.tokenizer(clip.text, add_special_tokens=False)["input_ids"]], device=thinker.model.device, dtype=torch.long)
    if not ids.numel():
        return _array(torch.zeros(1, thinker.model.config.text_config.hidden_size, dtype=thinker.model.dtype))
    with torch.no_grad():
        return _array(thinker.model.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state[0])


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    tensor = tensor.cpu()
    array: NDArray[Any] = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor.float()).contiguous().numpy()
    return array  # numpy has no bfloat16
