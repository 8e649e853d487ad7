"""Sizes of the real bases; LoRA is on the right modules, does not change the outputs at first, and all other parameters are frozen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

from omnimer_ray.config import LoraConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import BaseModelError
from omnimer_ray.model.dimensions import PLACEMENTS
from omnimer_ray.model.inputs import Encoder, collate
from omnimer_ray.model.lora import place_lora, trainable
from omnimer_ray.model.thinker import Thinker

WIDTH_3B = 2048
SHAPES: dict[str, dict[str, Any]] = {
    "7B": {"vision_config": {"hidden_size": 1280}},  # otherwise the class defaults; with the default vision width it would have 11.3 B
    "3B": {
        "vision_config": {"hidden_size": 1280, "out_hidden_size": WIDTH_3B},
        "audio_config": {"output_dim": WIDTH_3B},
        "text_config": {
            "hidden_size": WIDTH_3B,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "intermediate_size": 11008,
            "vocab_size": 151936,
        },
    },
}


def on_meta(name: str) -> Any:
    """A base without its weights, on the meta device."""
    with torch.device("meta"):
        return Qwen2_5OmniThinkerForConditionalGeneration(Qwen2_5OmniThinkerConfig(**SHAPES[name])).requires_grad_(False)


def count(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("name", "parameters"), [("7B", 8_931_813_888), ("3B", 4_703_464_448)])
def test_parameter_counts_of_the_real_bases(name: str, parameters: int) -> None:
    assert count(on_meta(name)) == parameters


@pytest.mark.parametrize(
    ("placement", "modules", "parameters"),
    [
        ("thinker", (112, 0, 0), 5_046_272),
        ("thinker+audio", (112, 128, 0), 7_667_712),
        ("all", (112, 128, 128), 10_289_152),
    ],
)
def test_modules_and_parameters_of_rank_8_on_the_7b(placement: Any, modules: tuple[int, int, int], parameters: int) -> None:
    model, matched = place_lora(on_meta("7B"), LoraConfig(rank=8, placement=placement), seed=0)
    assert matched == (*modules, parameters)
    assert str(matched) == (
        f"LoRA on {modules[0]} language, {modules[1]} audio and {modules[2]} vision projections: {parameters:,} trainable parameters"
    )
    assert {name for name, value in model.named_parameters() if value.requires_grad} == {
        name for name, _ in model.named_parameters() if ".lora_A." in name or ".lora_B." in name
    }


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_at_step_0_the_outputs_equal_those_of_the_base(
    placement: Any, tiny: Thinker, fresh: Thinker, encoder: Encoder, corpus: Corpus
) -> None:
    inputs = collate([encoder.encode(clip, "emotion") for clip in corpus.clips[:3]], encoder.tokenizer.pad_token_id, "left")
    model, matched = place_lora(fresh.model, LoraConfig(placement=placement), seed=0)
    assert matched[:3] == tuple(count * (tower < len(PLACEMENTS[placement])) for tower, count in enumerate((16, 8, 8)))
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, tiny.model(**inputs).logits)
    assert all(value.any() == ("lora_A" in name) for name, value in trainable(model).items())


def test_all_parameters_except_loras_are_frozen(fresh: Thinker) -> None:
    assert not trainable(fresh.model)
    before = dict(fresh.model.named_parameters())
    model, _ = place_lora(fresh.model, LoraConfig(placement="all"), seed=0)
    assert not any(value.requires_grad for value in before.values())
    assert count(model) - sum(value.numel() for value in before.values()) == sum(value.numel() for value in trainable(model).values())
    assert list(trainable(model)) == sorted(trainable(model))


def test_common_modules_of_placements_get_equal_initial_values() -> None:
    drawn = {}
    for placement in PLACEMENTS:
        model, _ = place_lora(small(), LoraConfig(placement=placement), seed=7)  # type: ignore[arg-type]
        drawn[placement] = {name: value for name, value in trainable(model).items() if "lora_A" in name}
    assert drawn["thinker"].keys() < drawn["thinker+audio"].keys() < drawn["all"].keys()
    for fewer in ("thinker", "thinker+audio"):
        assert all(torch.equal(value, drawn["all"][name]) for name, value in drawn[fewer].items())


def test_initial_values_depend_on_seed_and_module_and_not_on_global_state() -> None:
    draws = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        model, _ = place_lora(small(), LoraConfig(), seed)
        draws.append({name: value for name, value in trainable(model).items() if "lora_A" in name})
    assert all(torch.equal(value, draws[1][name]) for name, value in draws[0].items())
    assert not any(torch.equal(value, draws[2][name]) for name, value in draws[0].items())
    language = [value for name, value in draws[0].items() if "language_model.layers.0" in name]
    assert not torch.equal(language[0], language[1])
    bound = 128**-0.5  # kaiming_uniform(a=sqrt 5) of a width of 128
    assert 0.95 * bound < max(value.abs().max() for value in language) <= bound


def small() -> Any:
    """A model of the tiny sizes with a smaller vocabulary and random weights."""
    text = {
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 64,
    }
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
    config = Qwen2_5OmniThinkerConfig(
        text_config={**text, "rope_parameters": rope},
        audio_config={"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "output_dim": 128},
        vision_config={"depth": 2, "hidden_size": 64, "num_heads": 4, "intermediate_size": 64, "out_hidden_size": 128},
    )
    return Qwen2_5OmniThinkerForConditionalGeneration(config).requires_grad_(False)


def test_a_model_with_other_module_names_is_refused() -> None:
    model = small()
    model.model.language_model.layers[1].self_attn.out = model.model.language_model.layers[1].self_attn.o_proj
    del model.model.language_model.layers[1].self_attn.o_proj
    text = (
        r"^LoRA matched \[7, 8, 0\] projections of language, audio and vision where \[8, 8, 0\] were expected; "
        "this version of transformers names its modules differently$"
    )
    with pytest.raises(BaseModelError, match=text):
        place_lora(model, LoraConfig(), seed=0)
