"""A Thinker of a given shape with random weights, in a checkpoint's layout, made where it is measured: no weights are downloaded.

Its tokenizer, template and processor are the tiny base's, whose tokens are a part of any larger vocabulary. What it answers means nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from omnimer_ray.model.bases import TINY_FOLDER
from omnimer_ray.model.dimensions import FIELDS, Shape

HEADS = {"audio_config": ("encoder_attention_heads", 20), "vision_config": ("num_heads", 16)}  # of the 7B and the 3B
FULL_ATTENTION = [7, 15, 23, 31]  # vision blocks that see beyond their window
ROPE = [16, 24, 24]  # of a head of 128


def config_of(shape: Shape) -> dict[str, Any]:
    """The tiny base's config.json with the sizes of a shape of 128 per head."""
    config: dict[str, Any] = json.loads((TINY_FOLDER / "config.json").read_text(encoding="utf-8"))
    for part, fields in FIELDS.items():
        config[part] |= {key: getattr(shape, name) for name, key in fields.items()}
    for part, (key, heads) in HEADS.items():
        config[part][key] = heads
    config["text_config"]["rope_parameters"]["mrope_section"] = ROPE
    config["text_config"]["layer_types"] = ["full_attention"] * shape.layers
    config["text_config"]["max_position_embeddings"] = 32768
    config["vision_config"]["fullatt_block_indexes"] = FULL_ATTENTION
    return config


def make(folder: Path, shape: Shape, precision: str, device: str) -> Path:
    """Write the checkpoint, unless it is there; the weights are drawn on `device` from a seed."""
    import torch
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

    from omnimer_ray.model.thinker import DTYPES

    if (folder / "config.json").exists():  # written last
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    config = config_of(shape)
    with torch.device(device):
        model = Qwen2_5OmniThinkerForConditionalGeneration._from_config(Qwen2_5OmniThinkerConfig(**config), dtype=DTYPES[precision])
    model.save_pretrained(folder, max_shard_size="4GB")
    for file in TINY_FOLDER.iterdir():
        if file.suffix != ".safetensors" and file.name != "config.json":
            shutil.copyfile(file, folder / file.name)
    (folder / "config.json").write_text(
        json.dumps({**config, "dtype": {"bf16": "bfloat16", "fp32": "float32"}[precision]}), encoding="utf-8"
    )
    return folder
