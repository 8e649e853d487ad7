"""Writes a small checkpoint as Qwen/Qwen2.5-Omni-7B lies on the hub: sharded weights of thinker, talker and token2wav, and all its other files.

Run:  python tests/hub_layout.py FOLDER       # the tiny Thinker in that layout, for `--base FOLDER`
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from omnimer_ray.model.thinker import Thinker
from omnimer_ray.tiny.build import SPECIAL_TOKENS

Layout = Literal["before 5.21", "since 5.21"]  # of transformers: where the towers stand among the modules
OLD_PATHS = {"model.audio_tower.": "audio_tower.", "model.visual.": "visual.", "model.language_model.": "model."}
TEMPLATE = (  # the release's own, as far as our conversations reach
    "{% set audio_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_bos|><|IMAGE|><|vision_eos|>{% elif content['type'] == 'audio' or 'audio' in content or 'audio_url' in content %}"
    "{% set audio_count.value = audio_count.value + 1 %}{% if add_audio_id %}Audio {{ audio_count.value }}: {% endif %}"
    "<|audio_bos|><|AUDIO|><|audio_eos|>{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}"
    "<|vision_bos|><|VIDEO|><|vision_eos|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PREPROCESSOR = {
    "chunk_length": 300,
    "dither": 0.0,
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 128,
    "hop_length": 160,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "Qwen2VLImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "max_pixels": 12845056,
    "merge_size": 2,
    "min_pixels": 3136,
    "n_fft": 400,
    "n_samples": 4800000,
    "nb_max_frames": 30000,
    "padding_side": "right",
    "padding_value": 0.0,
    "patch_size": 14,
    "processor_class": "Qwen2_5OmniProcessor",
    "return_attention_mask": True,
    "sampling_rate": 16000,
    "temporal_patch_size": 2,
}
OTHER_PARTS = {  # modules that a Thinker has no use for
    "talker.model.embed_tokens.weight": (64, 32),
    "talker.model.layers.0.self_attn.q_proj.weight": (32, 32),
    "talker.thinker_to_talker_proj.weight": (32, 128),
    "talker.codec_head.weight": (64, 32),
    "token2wav.code2wav_dit_model.transformer_blocks.0.attn.to_q.weight": (32, 32),
    "token2wav.code2wav_bigvgan_model.conv_pre.weight": (16, 80, 7),
}
TALKER_SHARD = "model-00003-of-00003.safetensors"


def write_hub_checkpoint(thinker: Thinker, folder: Path, layout: Layout = "before 5.21") -> Path:
    """`thinker` in `folder` (made here), file by file as the release has it; returns the folder."""
    folder.mkdir(parents=True)
    weights = {_path(name, layout): value.contiguous() for name, value in thinker.model.state_dict().items()}
    _write_shards(weights, folder)
    _write(folder / "config.json", _config(thinker.model.config.to_dict()))
    _write(folder / "generation_config.json", {"_from_model_config": True, "transformers_version": "4.50.0.dev0"})
    _write(folder / "preprocessor_config.json", PREPROCESSOR)
    _write(folder / "chat_template.json", {"chat_template": TEMPLATE})
    _write_tokenizer(thinker.processor.tokenizer, folder)
    (folder / "spk_dict.pt").write_bytes(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.")  # the talker's voices: a pickle that nobody may open
    (folder / "README.md").write_text("# a small checkpoint in the layout of Qwen2.5-Omni\n")
    return folder


def _path(name: str, layout: Layout) -> str:
    if layout == "before 5.21":
        for new, old in OLD_PATHS.items():
            if name.startswith(new):
                return "thinker." + old + name.removeprefix(new)
    return "thinker." + name


def _write_shards(weights: dict[str, torch.Tensor], folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    others = {name: torch.randn(shape, generator=generator) for name, shape in OTHER_PARTS.items()}
    names = sorted(weights)
    shards = {
        "model-00001-of-00003.safetensors": {name: weights[name] for name in names[: len(names) // 2]},
        "model-00002-of-00003.safetensors": {name: weights[name] for name in names[len(names) // 2 :]},
        TALKER_SHARD: others,
    }
    for file, tensors in shards.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
    total = sum(value.nbytes for tensors in shards.values() for value in tensors.values())
    places = {name: file for file, tensors in shards.items() for name in tensors}
    _write(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": places})


def _config(thinker: dict[str, Any]) -> dict[str, Any]:
    """The full model's config in the words of transformers 4.50."""
    text = thinker["text_config"]
    rope = text.pop("rope_parameters")
    text.pop("layer_types", None)
    text["rope_theta"], text["rope_scaling"] = (
        rope["rope_theta"],
        {"mrope_section": rope["mrope_section"], "rope_type": "default", "type": "default"},
    )
    vision = thinker["vision_config"]
    vision.pop("rope_parameters", None)
    vision.update(embed_dim=vision["hidden_size"], in_chans=3, init_std=0.02, spatial_patch_size=14, tokens_per_second=25)
    for part in (thinker, text, vision, thinker["audio_config"]):
        part.pop("transformers_version", None)
        part.pop("dtype", None)
        part["torch_dtype"] = "float32"
    return {
        "architectures": ["Qwen2_5OmniModel"],
        "enable_audio_output": True,
        "enable_talker": True,
        "model_type": "qwen2_5_omni",
        "thinker_config": {**thinker, "architectures": ["Qwen2OmniNaViTThinkerForConditionalGeneration"]},
        "talker_config": {
            "architectures": ["Qwen2OmniTalkerForConditionalGeneration"],
            "model_type": "qwen2_5_omni_talker",
            "embedding_size": 128,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": 64,
            "rope_scaling": {"mrope_section": [2, 3, 3], "rope_type": "default", "type": "default"},
            "rope_theta": 1000000.0,
        },
        "token2wav_config": {
            "model_type": "qwen2_5_omni_token2wav",
            "dit_config": {"model_type": "qwen2_5_omni_dit", "hidden_size": 32, "num_hidden_layers": 1},
            "bigvgan_config": {"model_type": "qwen2_5_omni_bigvgan", "mel_dim": 80},
        },
        "torch_dtype": "float32",
        "transformers_version": "4.50.0.dev0",
    }


def _write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """tokenizer.json with its older halves, vocab.json and merges.txt, and the settings as transformers 4 wrote them."""
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    _write(folder / "vocab.json", stored["model"]["vocab"])
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in stored["model"]["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{pair}\n" for pair in merges), encoding="utf-8")
    added = {token["content"]: token["id"] for token in stored["added_tokens"]}
    _write(folder / "added_tokens.json", added)
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    _write(folder / "special_tokens_map.json", {"additional_special_tokens": [*SPECIAL_TOKENS.values()], **named})
    settings = {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(place): {"content": content, **flags} for content, place in added.items()},
        "additional_special_tokens": [*SPECIAL_TOKENS.values()],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "extra_special_tokens": {name: token for name, token in SPECIAL_TOKENS.items() if not re.match("im_", name)},
        "model_max_length": 32768,
        "processor_class": "Qwen2_5OmniProcessor",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    _write(folder / "tokenizer_config.json", {**settings, **named})


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    from omnimer_ray.model.bases import locate
    from omnimer_ray.model.thinker import load_thinker

    print(write_hub_checkpoint(load_thinker(locate("tiny"), "fp32"), Path(sys.argv[1])))
