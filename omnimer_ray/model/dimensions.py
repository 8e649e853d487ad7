"""Sizes of a Thinker, read from its config.json, and the parameter counts that follow from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from omnimer_ray.config import LoraConfig
from omnimer_ray.errors import BaseModelError
from omnimer_ray.records import read_json

Tower = Literal["language", "audio", "vision"]
FIELDS = {  # field of Shape -> key in config.json, by section of the config
    "text_config": {
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads",
        "mlp": "intermediate_size",
        "vocabulary": "vocab_size",
    },
    "audio_config": {
        "audio_width": "d_model",
        "audio_layers": "encoder_layers",
        "audio_mlp": "encoder_ffn_dim",
        "audio_mels": "num_mel_bins",
        "audio_out": "output_dim",
    },
    "vision_config": {
        "vision_width": "hidden_size",
        "vision_layers": "depth",
        "vision_mlp": "intermediate_size",
        "vision_out": "out_hidden_size",
    },
}


class Shape(NamedTuple):
    """Sizes in a Thinker's config.json; the defaults are those of transformers' classes and are used for absent keys."""

    width: int = 3584
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    mlp: int = 18944
    vocabulary: int = 152064
    audio_width: int = 1280
    audio_layers: int = 32
    audio_mlp: int = 5120
    audio_mels: int = 128
    audio_out: int = 3584
    vision_width: int = 3584
    vision_layers: int = 32
    vision_mlp: int = 3420
    vision_out: int = 3584
    vision_patch: int = 3 * 2 * 14 * 14  # values of one patch
    tied: bool = False  # embedding and head share their weights

    @property
    def kv_width(self) -> int:
        """Width of the keys and of the values."""
        return self.kv_heads * (self.width // self.heads)

    def num_layers(self, tower: Tower) -> int:
        """Number of layers of a tower."""
        return {"language": self.layers, "audio": self.audio_layers, "vision": self.vision_layers}[tower]


HUB_SHAPES = {  # known without a download; all other sizes are the classes' defaults
    "Qwen/Qwen2.5-Omni-7B": Shape(vision_width=1280),
    "Qwen/Qwen2.5-Omni-3B": Shape(2048, 36, 16, 2, 11008, 151936, audio_out=2048, vision_width=1280, vision_out=2048),
}


class Target(NamedTuple):
    """Linear projections in every layer of a tower to which LoRA can be added."""

    tower: Tower
    pattern: str  # regex for the module paths of transformers >= 5.21, where both towers are under `model.`
    num_projections: int  # in one layer
    widths: Callable[[Shape], int]  # the sum of their inputs and outputs in one layer


LANGUAGE_ATTENTION = Target(
    "language",
    r"model\.language_model\.layers\.\d+\.self_attn\.[qkvo]_proj",
    4,
    lambda shape: 4 * shape.width + 2 * (shape.width + shape.kv_width),
)
AUDIO_ATTENTION = Target(
    "audio", r"model\.audio_tower\.layers\.\d+\.self_attn\.(?:[qkv]_proj|out_proj)", 4, lambda shape: 8 * shape.audio_width
)
VISION_ATTENTION = Target("vision", r"model\.visual\.blocks\.\d+\.attn\.(?:[qkv]|proj)", 4, lambda shape: 8 * shape.vision_width)
PLACEMENTS: dict[str, tuple[Target, ...]] = {  # by the value of `lora.placement`
    "thinker": (LANGUAGE_ATTENTION,),
    "thinker+audio": (LANGUAGE_ATTENTION, AUDIO_ATTENTION),
    "all": (LANGUAGE_ATTENTION, AUDIO_ATTENTION, VISION_ATTENTION),
}


def is_vision_frozen(lora: LoraConfig) -> bool:
    """Whether no LoRA changes the vision tower."""
    return VISION_ATTENTION not in PLACEMENTS[lora.placement]


class Parameters(NamedTuple):
    """Number of parameters in each part of a Thinker."""

    language: int
    embedding: int
    head: int
    audio: int
    vision: int


def read_shape(folder: Path) -> Shape:
    """Read the sizes from a checkpoint's config.json, of the full Omni model or of the Thinker only. Raises BaseModelError."""
    path = folder / "config.json"
    config = read_json(path)
    try:
        thinker = config.get("thinker_config", config)
        sizes = {
            name: int(thinker[part][key])
            for part, fields in FIELDS.items()
            for name, key in fields.items()
            if thinker[part].get(key) is not None
        }
        return Shape(**sizes, tied=bool(thinker.get("tie_word_embeddings")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BaseModelError(f"{path} does not give a Thinker's sizes ({error!r}); download the checkpoint again") from None


def parameters(shape: Shape) -> Parameters:
    """Return exact parameter counts for the layers in transformers' modeling_qwen2_5_omni.py, biases included."""
    width, mlp, kv = shape.width, shape.mlp, shape.kv_width
    layer = 2 * width * width + width + 2 * (width * kv + kv) + 3 * width * mlp + 2 * width
    d, ffn = shape.audio_width, shape.audio_mlp
    audio_layer = 4 * d * d + 3 * d + 2 * d * ffn + ffn + d + 4 * d
    stem = 3 * d * shape.audio_mels + d + 3 * d * d + d
    h, inner, merged = shape.vision_width, shape.vision_mlp, 4 * shape.vision_width
    block = 4 * h * h + 4 * h + 3 * h * inner + 2 * inner + h + 2 * h
    merger = h + merged * merged + merged + merged * shape.vision_out + shape.vision_out
    table = shape.vocabulary * width
    return Parameters(
        language=shape.layers * layer + width,
        embedding=table,
        head=0 if shape.tied else table,
        audio=shape.audio_layers * audio_layer + stem + 2 * shape.audio_out + 2 * d + d * shape.audio_out + shape.audio_out,
        vision=shape.vision_layers * block + shape.vision_patch * h + merger,
    )


def lora_parameters(shape: Shape, lora: LoraConfig) -> int:
    """Number of trainable parameters: rank x (inputs + outputs) of every projection with LoRA."""
    return lora.rank * sum(shape.num_layers(target.tower) * target.widths(shape) for target in PLACEMENTS[lora.placement])
