"""Hidden states of pretrained encoders, one clip at a time: what is padded depends on nothing else.

T tokens, frames of 20 ms, or pictures; D the encoder's width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError

from omnimer_ray.config import MediaConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import ConfigError
from omnimer_ray.feature_config import CHECKPOINT_VIEWS, Checkpoint
from omnimer_ray.media.decode import SAMPLE_RATE_HZ
from omnimer_ray.media.load import clip_wave, load_media

CLASSES = {
    "hubert": "HubertModel",
    "wav2vec2": "Wav2Vec2Model",
    "wavlm": "WavLMModel",
    "bert": "BertModel",
    "roberta": "RobertaModel",
    "xlm-roberta": "XLMRobertaModel",
    "clip": "CLIPModel",
}
NOT_USED = ("pooler.", "masked_spec_embed")  # weights that hidden states do not depend on
Encode = Callable[[Clip], NDArray[np.float32]]


def encoder(settings: Checkpoint, folder: Path, media: MediaConfig | None, cache: Path, device: Any) -> Encode:
    """Load an encoder; returns the function from a clip to (T, D). Raises ConfigError if its files do not make one, or for a layer that it lacks."""
    assert settings.kind is not None
    try:
        model, report = getattr(transformers, CLASSES[settings.kind]).from_pretrained(
            str(folder), use_safetensors=True, output_loading_info=True
        )
        processor = _processor(settings.kind, folder)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ConfigError(f"encoder {settings.model!r} cannot be loaded: {str(error).splitlines()[0]}; download it again") from None
    if missing := sorted(name for name in report["missing_keys"] if not name.startswith(NOT_USED)):
        raise ConfigError(f"encoder {settings.model!r} lacks {len(missing)} weights ({missing[0]}); download it again")
    if CHECKPOINT_VIEWS[settings.kind] != "frames":
        number = model.config.num_hidden_layers + 1
        if lacking := [layer for layer in settings.layers if not -number <= layer < number]:
            raise ConfigError(f"encoder {settings.model!r} has hidden states 0 to {number - 1}, and none of layer {lacking[0]}")
    model.requires_grad_(False).eval().to(device)
    match CHECKPOINT_VIEWS[settings.kind]:
        case "text":
            return lambda clip: _states(model, settings, processor(clip.text, truncation=True, return_tensors="pt").to(device))
        case "audio":
            assert media is not None
            return lambda clip: _states(
                model, settings, processor(clip_wave(clip, media), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").to(device)
            )
        case "frames":
            assert media is not None
            return lambda clip: _pictures(
                model, processor(images=list(load_media(clip, media, cache).frames), return_tensors="pt").to(device)
            )
        case unknown:
            raise AssertionError(f"{settings.kind} sees {unknown}")


def _processor(kind: str, folder: Path) -> Any:
    match CHECKPOINT_VIEWS[kind]:  # type: ignore[index]
        case "text":
            return transformers.AutoTokenizer.from_pretrained(str(folder))
        case "audio":
            return transformers.Wav2Vec2FeatureExtractor.from_pretrained(str(folder))
        case "frames":
            return transformers.CLIPImageProcessor.from_pretrained(str(folder))
        case unknown:
            raise AssertionError(f"{kind} sees {unknown}")


def _states(model: Any, settings: Checkpoint, inputs: Any) -> NDArray[np.float32]:
    """Hidden states averaged over the layers."""
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    averaged: NDArray[np.float32] = torch.stack([states[layer][0] for layer in settings.layers]).mean(0).float().cpu().numpy()
    return averaged


def _pictures(model: Any, inputs: Any) -> NDArray[np.float32]:
    """CLIP's vector of each picture."""
    with torch.no_grad():
        found = model.get_image_features(**inputs)
    vectors: NDArray[np.float32] = getattr(found, "pooler_output", found).float().cpu().numpy()
    return vectors
