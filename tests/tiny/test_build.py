"""The tiny Thinker is the 7B in small: classes, processor, chat format and proportions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration, Qwen2VLVideoProcessor, WhisperFeatureExtractor

from omnimer_ray.model.thinker import Thinker
from omnimer_ray.tiny import build

TEXTS = ["Saya senang sekali hari ini, terima kasih.", "Dia menangis karena kehilangan ibunya.", '{"sentiment": "positive"}'] * 4


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build.tokenizer(TEXTS)


@pytest.mark.parametrize("text", [TEXTS[0], "Apa?! 😀 déjà 今天 \t\n 12345", '{"keywords": ["a", "b"]}', "<not a token> | <|", ""])
def test_any_text_survives(text: str, tokenizer: Any) -> None:
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_it_learned_from_the_texts(tokenizer: Any) -> None:
    assert len(tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"]) < len(TEXTS[0]) / 3
    assert build.tokenizer(TEXTS).backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert build.tokenizer(TEXTS[:1]).backend_tokenizer.to_str() != tokenizer.backend_tokenizer.to_str()


def test_special_tokens_are_one_token_each(tokenizer: Any, tiny: Thinker) -> None:
    for room in (tokenizer, tiny.processor.tokenizer):
        for name, token in build.SPECIAL_TOKENS.items():
            assert room(token, add_special_tokens=False)["input_ids"] == [room.convert_tokens_to_ids(token)]
            assert getattr(room, name) == token
        assert room.pad_token == "<|endoftext|>"


def test_the_chat_format_is_qwens(tiny: Thinker) -> None:
    parts = [{"type": "text", "text": "Look: "}, {"type": "video"}, {"type": "text", "text": " Listen: "}, {"type": "audio"}]
    messages = [{"role": "system", "content": [{"type": "text", "text": "Be kind."}]}, {"role": "user", "content": parts}]
    assert tiny.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nLook: <|vision_bos|><|VIDEO|><|vision_eos|> Listen: "
        "<|audio_bos|><|AUDIO|><|audio_eos|><|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_processor_is_the_7bs(tokenizer: Any) -> None:
    processor = build.processor(tokenizer)
    assert type(processor) is Qwen2_5OmniProcessor
    assert type(processor.video_processor) is Qwen2VLVideoProcessor
    video, sound = processor.video_processor, processor.feature_extractor
    assert type(sound) is WhisperFeatureExtractor
    assert (video.patch_size, video.temporal_patch_size, video.merge_size) == (14, 2, 2)
    assert (sound.feature_size, sound.sampling_rate, sound.hop_length, sound.n_fft, sound.chunk_length) == (128, 16000, 160, 400, 300)


def test_a_thinker_is_made_of_its_seed_alone(tokenizer: Any) -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    one, same, other = (build.thinker(tokenizer, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])
    assert one["lm_head.weight"].data_ptr() != one["model.language_model.embed_tokens.weight"].data_ptr()  # untied, as the 7B's


def test_config_and_tokenizer_agree(tiny: Thinker) -> None:
    config, words = tiny.model.config, tiny.processor.tokenizer
    named = {
        "video_token_id": "<|VIDEO|>",
        "audio_token_id": "<|AUDIO|>",
        "image_token_id": "<|IMAGE|>",
        "vision_start_token_id": "<|vision_bos|>",
        "audio_start_token_id": "<|audio_bos|>",
        "audio_end_token_id": "<|audio_eos|>",
    }
    assert {name: getattr(config, name) for name in named} == {name: words.convert_tokens_to_ids(token) for name, token in named.items()}
    assert config.text_config.vocab_size >= len(words)
    assert config.position_id_per_seconds == 25
    assert type(tiny.model) is Qwen2_5OmniThinkerForConditionalGeneration


def test_proportions_are_kept_in_order(tiny: Thinker) -> None:
    """The language layers weigh most, as in the 7B; each tower is about a tenth of them or more, so that LoRA on it matters."""
    model = tiny.model.model
    layers, audio, vision = (
        sum(value.numel() for value in part.parameters()) for part in (model.language_model.layers, model.audio_tower, model.visual)
    )
    assert 0.09 < audio / layers < 0.35
    assert 0.09 < vision / layers < 0.35
    assert sum(value.numel() for value in tiny.model.parameters()) < 2_500_000
