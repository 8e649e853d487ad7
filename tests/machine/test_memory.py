"""The estimate compared with exact parameter counts, with activations that the real classes save for backward, and with published limits."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from making import paper_config, tiny_config

from omnimer_ray.config import LoraConfig
from omnimer_ray.errors import BaseModelError, ConfigError
from omnimer_ray.machine.memory import (
    GIB,
    Item,
    Setup,
    estimate,
    longest_item,
    max_tokens,
    recompute_rule,
    refusal,
    setup_of,
)
from omnimer_ray.machine.profile import MachineProfile, smaller
from omnimer_ray.model.bases import TINY_FOLDER
from omnimer_ray.model.dimensions import FIELDS, HUB_SHAPES, PLACEMENTS, Shape, Target, lora_parameters, parameters, read_shape

QWEN_7B, QWEN_3B = HUB_SHAPES.values()
PAIR = Setup(workers=2)


@pytest.mark.parametrize(("shape", "count"), [(QWEN_7B, 8_931_813_888), (QWEN_3B, 4_703_464_448), (Shape(), None)])
def test_parameters_are_counted_exactly(shape: Shape, count: int | None) -> None:
    assert sum(parameters(shape)) == count or (count is None and round(sum(parameters(shape)) / 1e9, 1) == 11.3)


def test_the_parameter_count_of_the_tiny_base_equals_that_of_its_file() -> None:
    with (TINY_FOLDER / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    stored = sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    assert sum(parameters(read_shape(TINY_FOLDER))) == stored


def test_sizes_are_read_from_a_full_omni_config_or_a_thinkers(tmp_path: Path) -> None:
    parts: dict[str, Any] = {part: {key: getattr(QWEN_7B, name) for name, key in fields.items()} for part, fields in FIELDS.items()}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_5_omni", "thinker_config": parts, "talker_config": {}}))
    assert read_shape(tmp_path) == QWEN_7B
    del parts["text_config"]["vocab_size"]
    (tmp_path / "config.json").write_text(json.dumps(parts))
    assert read_shape(tmp_path) == QWEN_7B


@pytest.mark.parametrize("content", ["{}", "[]", '{"text_config": {"hidden_size": "wide"}}', '{"text_config": 3}'])
def test_a_config_without_sizes_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BaseModelError) as raised:
        read_shape(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / 'config.json'} does not give a Thinker's sizes (")
    assert str(raised.value).endswith("); download the checkpoint again")


def test_weights_of_the_7b_take_their_known_memory_with_any_number_of_workers() -> None:
    single, shared = (estimate(QWEN_7B, PAIR._replace(workers=workers), Item(1000)) for workers in (1, 8))
    assert round(single.weights, 2) == 16.64
    assert shared.weights == single.weights
    assert 0 < single.total_gib - shared.total_gib < 0.15  # ZeRO-2 partitions only the adapter's state


def test_published_token_limits_of_a_24_gib_card() -> None:
    """14,600 and 1,790 are calculated without an adapter in fp32; PEFT's fp32 copies of LoRA's inputs, measured below, cost a sixth."""
    recomputed = max_tokens(24, QWEN_7B, PAIR)
    assert 0.82 < recomputed / 14_600 < 1
    kept = PAIR._replace(recompute=False, off_card=("vision", "embedding"))
    assert 0.82 < max_tokens(24, QWEN_7B, kept) / 1_790 < 1
    assert max_tokens(24, QWEN_7B, kept._replace(off_card=())) < 1_200
    assert max_tokens(16, QWEN_7B, PAIR) == 0
    assert estimate(QWEN_7B, PAIR, Item(recomputed, answer=0)).training_gib <= 24


def test_training_state_is_partitioned_as_in_deepspeed() -> None:
    """In fp32: the full adapter and its bucket, and a partition of the gradients, of a copy and of two moments."""
    count = lora_parameters(QWEN_7B, PAIR.lora)
    assert estimate(QWEN_7B, PAIR, Item(1000)).training_state == pytest.approx((8 + (4 + 12) / 2) * count / GIB)
    assert estimate(QWEN_7B, PAIR._replace(zero_stage=1), Item(1000)).training_state == pytest.approx((8 + 4 + 12 / 2) * count / GIB)


def test_decoding_needs_the_prompts_cache_and_one_layer_but_no_logits_of_prompts() -> None:
    one, two = (estimate(QWEN_7B, PAIR._replace(evaluation_batch=batch), Item(9000, answer=0)).decoding for batch in (1, 2))
    assert one == pytest.approx(9000 * (2 * 2 * 512 * 28 + 6 * 18944 + 5 * 3584) / GIB)
    assert two == pytest.approx(2 * (one + 2 * 9000**2 / GIB)), "padded prompts have a mask"
    assert two < 2 * 9000 * 2 * QWEN_7B.vocabulary / GIB


def test_setup_and_longest_item_follow_from_profile_and_config() -> None:
    profile = MachineProfile(docs="test", workers_per_run=2, gpus_per_worker=1, micro_batch=2, evaluation_batch=4, recompute=True)
    config = paper_config(base__precision="bf16")
    assert setup_of(profile, config) == Setup(config.lora, "bf16", 2, 2, 4, 2, True)
    assert longest_item(config) == Item(text=512, audio=750, video=30 * 256, answer=128)
    assert longest_item(tiny_config()) == Item(text=512, audio=200, video=8 * 16, answer=64)


def test_only_micro_batches_that_need_it_are_recomputed() -> None:
    """On 24 GiB the 7B's text and audio items fit without; a main item of 30 s does not. Nothing is known of a base without sizes."""
    profile, config = MachineProfile(docs="test", gpus_per_worker=1, recompute=True), paper_config(base__precision="bf16")
    text, audio, short, long = (400, 0), (535, 135), (1007, 135), (200 + 1260 + 750, 750)  # padded tokens, tokens of sound

    def chosen(profile: MachineProfile, shape: Shape | None = QWEN_7B, off_card: tuple[str, ...] = ()) -> list[bool]:
        rule = recompute_rule(profile, 24, shape, config, off_card)
        assert rule is not None
        return [rule(*item) for item in (text, audio, short, long)]

    assert chosen(profile) == [False, False, True, True]
    assert chosen(profile, off_card=("vision",)) == [False, False, True, True]
    assert chosen(profile, None) == [True] * 4
    assert chosen(smaller(profile)) == [True] * 4  # after an attempt that ran out of memory
    assert recompute_rule(profile.model_copy(update={"recompute": False}), 24, QWEN_7B, config) is None


@pytest.mark.parametrize(
    ("setup", "tokens", "way_out"),
    [
        ({"evaluation_batch": 24}, 3000, "it fits with evaluation_batch: 1"),
        ({"micro_batch": 4, "recompute": False}, 1300, "it fits with micro_batch: 1, recompute: true"),
        ({"evaluation_batch": 24, "recompute": False}, 8000, "it fits with evaluation_batch: 1, recompute: true"),
        ({}, 20_000, "with all savings items of 12230 tokens fit; lower media.max_pixels or media.max_sec, or choose a larger card"),
    ],
)
def test_the_refusal_names_settings_that_would_fit(setup: dict[str, Any], tokens: int, way_out: str) -> None:
    reason = refusal(24, QWEN_7B, PAIR._replace(**setup), Item(tokens, answer=0))
    assert reason is not None
    assert reason.startswith("a worker needs ")
    assert reason.endswith(f"to decode items of {tokens} tokens, and has 24.0; {way_out}")


def test_a_fitting_item_is_not_refused_and_a_base_that_never_fits_is() -> None:
    assert refusal(24, QWEN_7B, PAIR, Item(1000)) is None
    reason = refusal(12, QWEN_7B, PAIR, Item(1000))
    assert reason is not None
    assert reason.endswith("no profile makes this base fit; choose a smaller base or a card with more memory")


# Saved activations of small models of the real classes: the difference that one more layer makes.

SMALL = Shape(256, 2, 2, 1, 640, 512, 128, 1, 512, 128, 256, 128, 1, 320, 256)


def _model(shape: Shape, precision: str, lora: LoraConfig) -> Any:
    from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

    from omnimer_ray.model.lora import place_lora
    from omnimer_ray.model.thinker import DTYPES

    sizes = {part: {key: getattr(shape, name) for name, key in fields.items()} for part, fields in FIELDS.items()}
    sizes["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}  # type: ignore[assignment]
    sizes["audio_config"]["encoder_attention_heads"] = sizes["vision_config"]["num_heads"] = 2
    sizes["vision_config"]["fullatt_block_indexes"] = list(range(shape.vision_layers))  # type: ignore[assignment]
    tokens = {"image_token_index": 501, "video_token_index": 502, "audio_token_index": 503}
    tokens |= {"vision_start_token_id": 504, "vision_end_token_id": 505, "audio_start_token_id": 506, "audio_end_token_id": 507}
    config = Qwen2_5OmniThinkerConfig(**sizes, **tokens, pad_token_id=500, tie_word_embeddings=False)
    model = Qwen2_5OmniThinkerForConditionalGeneration(config).to(DTYPES[precision])
    model.requires_grad_(False)
    return place_lora(model, lora, seed=0)[0].train()


def _kept_bytes(model: Any, batch: dict[str, Any]) -> int:
    """Bytes of the distinct storages saved for the backward pass, without parameters and buffers."""
    import torch

    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.get_base_model().model(**batch, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _batch(item: Item) -> dict[str, Any]:
    import torch

    media = [506] + [503] * item.audio + [507] if item.audio else [504] + [502] * item.video + [505] if item.video else []
    ids = torch.tensor([media + [7] * (item.text - 2 * bool(media))])
    batch: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if item.audio:
        batch |= {"input_features": torch.randn(1, 128, 4 * item.audio), "feature_attention_mask": torch.ones(1, 4 * item.audio).long()}
    if item.video:
        grid = torch.tensor([[item.video // 16, 8, 8]])  # 16 tokens, 64 patches of a pair of frames
        batch |= {"pixel_values_videos": torch.randn(4 * item.video, 1176), "video_grid_thw": grid, "video_second_per_grid": torch.ones(1)}
    return batch


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("layers", "item", "placement"),
    [
        ("layers", Item(96, answer=0), "thinker"),
        ("audio_layers", Item(4, 80, answer=0), "all"),
        ("vision_layers", Item(4, 0, 64, 0), "all"),
    ],
    ids=["language", "audio", "vision"],
)
def test_activations_saved_by_a_layer_follow_the_formula(precision: str, layers: str, item: Item, placement: Any) -> None:
    lora = LoraConfig(rank=4, placement=placement)
    setup = Setup(lora, precision, recompute=False)
    fewer, more = (SMALL._replace(**{layers: getattr(SMALL, layers) + extra}) for extra in (1, 2))
    measured = _kept_bytes(_model(more, precision, lora), _batch(item)) - _kept_bytes(_model(fewer, precision, lora), _batch(item))
    estimated = GIB * (estimate(more, setup, item).kept - estimate(fewer, setup, item).kept)
    assert measured == pytest.approx(estimated, rel=0.02)  # the difference: scales of norms, log-sums


def test_padded_micro_batches_save_as_much_as_items_of_that_length() -> None:
    import torch

    setup, item = Setup(LoraConfig(rank=4, placement="thinker"), "fp32", micro_batch=2, recompute=False), Item(96, answer=0)
    batch = {name: torch.cat([value, value]) for name, value in _batch(item).items()}  # as `collate` makes it: padding has no mask
    fewer, more = (SMALL._replace(layers=SMALL.layers + extra) for extra in (1, 2))
    measured = _kept_bytes(_model(more, "fp32", setup.lora), batch) - _kept_bytes(_model(fewer, "fp32", setup.lora), batch)
    assert measured == pytest.approx(GIB * (estimate(more, setup, item).kept - estimate(fewer, setup, item).kept), rel=0.02)


def test_lora_parameters_are_counted_exactly() -> None:
    for placement in ("thinker", "thinker+audio", "all"):
        lora = LoraConfig(rank=4, placement=placement)  # type: ignore[arg-type]
        trainable = sum(parameter.numel() for parameter in _model(SMALL, "fp32", lora).parameters() if parameter.requires_grad)
        assert trainable == lora_parameters(SMALL, lora)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_estimate_covers_every_placement(placement: Any) -> None:
    assert estimate(SMALL, Setup(LoraConfig(placement=placement)), Item(100)).kept > 0


def test_a_placement_that_the_formulas_do_not_cover_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mlp = Target("language", r".*\.mlp\..*", 3, lambda shape: 3 * (shape.width + shape.mlp))
    monkeypatch.setitem(PLACEMENTS, "thinker", (*PLACEMENTS["thinker"], mlp))
    with pytest.raises(
        ConfigError, match=r"^the memory estimate does not count lora\.placement 'thinker'; extend omnimer_ray/machine/memory\.py$"
    ):
        estimate(SMALL, Setup(LoraConfig(placement="thinker")), Item(100))
