"""Counted operations compared with those that torch counts in the real classes."""

from __future__ import annotations

import pytest
import torch
from making import paper_config, tiny_config
from torch.utils.flop_counter import FlopCounterMode

from omnimer_ray.config import Kind
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.machine.flops import answered_item, forward, trained_item, typical_item
from omnimer_ray.machine.memory import Item
from omnimer_ray.model.bases import TINY_FOLDER
from omnimer_ray.model.dimensions import Shape, read_shape
from omnimer_ray.model.inputs import Encoder, collate
from omnimer_ray.model.thinker import Thinker

QWEN_7B = Shape(vision_width=1280)


@pytest.mark.parametrize("kind", ["text_keywords", "facial_expression", "prosody", "sentiment"])
def test_operations_of_a_forward_pass_are_those_that_torch_counts(kind: Kind, tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    encoded = encoder.encode(corpus.clips[0], kind)
    media = encoder.media_tensors(corpus.clips[0])
    item = Item(
        len(encoded.input_ids),
        media.num_audio_tokens if encoded.mel is not None else 0,
        media.num_video_tokens if encoded.pixels is not None else 0,
        answer=0,
    )
    item = item._replace(text=item.text - item.audio - item.video)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tiny.model.model(**collate([encoded], encoder.tokenizer.pad_token_id, "right"), use_cache=False)
    counted = sum(forward(read_shape(TINY_FOLDER), item).values())
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.25)


def test_training_costs_two_passes_and_recompute_a_third() -> None:
    item = typical_item(paper_config())
    once = forward(QWEN_7B, item)
    without_vision = sum(once.values()) - once["vision"]
    assert trained_item(QWEN_7B, paper_config(), item, recompute=False) == pytest.approx(2 * without_vision + once["vision"])
    assert trained_item(QWEN_7B, paper_config(), item, recompute=True) > 2.5 * without_vision
    assert trained_item(QWEN_7B, paper_config(), item, recompute=False, keeps_outputs=True) == pytest.approx(2 * without_vision)
    assert answered_item(QWEN_7B, item) == sum(once.values())


def test_a_typical_item_is_a_short_clip_within_the_settings() -> None:
    item = typical_item(paper_config())
    assert (item.audio, item.video) == (125, 5 * 128)
    assert typical_item(tiny_config(), sec=99).audio == 200
