"""Generated answers do not depend on the batch and end at the end of the turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from short_training import KINDS

from omnimer_ray.config import Kind, LoraConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.model import generation
from omnimer_ray.model.generation import Noise, generate, in_batches, last_position_only
from omnimer_ray.model.inputs import END_OF_TURN, Encoder, collate
from omnimer_ray.model.lora import place_lora
from omnimer_ray.model.thinker import Thinker


@contextmanager
def decoding(thinker: Thinker, logits_of: Callable[[int, torch.Tensor], torch.Tensor]) -> Iterator[list[int]]:
    """Replace the logits of every decoding step by `logits_of(step, logits)`; yield the list of steps taken so far."""
    steps: list[int] = []

    def replace_logits(module: Any, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        steps.append(len(steps))
        return logits_of(steps[-1], logits)

    handle = thinker.model.lm_head.register_forward_hook(replace_logits)
    try:
        yield steps
    finally:
        handle.remove()


def logits_for(encoder: Encoder, texts: list[str]) -> Callable[[int, torch.Tensor], torch.Tensor]:
    """Return a function whose logits make row i of the batch generate `texts[i]`, followed by 'x'."""
    rows = [encoder.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    filler = encoder.tokenizer("x", add_special_tokens=False)["input_ids"][0]

    def logits_of(step: int, logits: torch.Tensor) -> torch.Tensor:
        forced = torch.zeros_like(logits)
        for row, tokens in enumerate(rows):
            forced[row, :, tokens[step] if step < len(tokens) else filler] = 1
        return forced

    return logits_of


@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_the_batch(kind: Kind, tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    prompts = [encoder.encode(clip, kind) for clip in corpus.clips[:6]]
    assert kind == "facial_expression" or len({len(prompt.input_ids) for prompt in prompts}) > 1
    alone = [generate(tiny, encoder, [prompt], 24)[0] for prompt in prompts]
    assert generate(tiny, encoder, prompts, 24) == alone
    assert generate(tiny, encoder, prompts[::-1], 24) == alone[::-1]
    assert generate(tiny, encoder, prompts[2:5], 24) == alone[2:5]


@pytest.mark.parametrize("adapted", [False, True])
def test_only_the_last_position_of_a_prompt_is_projected(adapted: bool, fresh: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    if adapted:
        fresh = fresh._replace(model=place_lora(fresh.model, LoraConfig(), 0)[0])
    prompts = [encoder.encode(clip, "emotion") for clip in corpus.clips[:4]]
    inputs = collate(prompts, encoder.tokenizer.pad_token_id, "left", torch.device("cpu"))
    with torch.no_grad(), last_position_only(fresh.model):
        last = fresh.model(**inputs).logits
    with torch.no_grad():
        full = fresh.model(**inputs).logits
    assert last.shape == (4, 1, full.shape[-1]) != full.shape
    torch.testing.assert_close(last[:, 0], full[:, -1], rtol=0, atol=1e-5)


def test_answers_equal_those_with_all_positions_projected(
    tiny: Thinker, encoder: Encoder, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [encoder.encode(clip, "emotion") for clip in corpus.clips]
    answers = generate(tiny, encoder, prompts, 24)
    monkeypatch.setattr(generation, "last_position_only", lambda model: nullcontext())
    assert generate(tiny, encoder, prompts, 24) == answers


def test_an_answer_ends_at_the_end_of_the_turn(tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    prompts = [encoder.encode(clip, "emotion") for clip in corpus.clips[:3]]
    texts = [END_OF_TURN, '{"sentiment": "netral"}' + END_OF_TURN + '{"sentiment": "positive"}', " a b " + END_OF_TURN]
    with decoding(tiny, logits_for(encoder, texts)) as steps:
        assert generate(tiny, encoder, prompts, 64) == ["", '{"sentiment": "netral"}', "a b"]
    longest = max(len(encoder.tokenizer(text.split(END_OF_TURN)[0], add_special_tokens=False)["input_ids"]) for text in texts)
    assert len(steps) == longest + 1


def test_an_answer_without_an_end_is_truncated(tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    with decoding(tiny, logits_for(encoder, ["word"])) as steps:
        answer = generate(tiny, encoder, [encoder.encode(corpus.clips[0], "prosody")], 9)
    assert len(steps) == 9
    assert answer[0].startswith("wordx")
    assert answer[0] == "word" + "x" * (9 - len(encoder.tokenizer("word", add_special_tokens=False)["input_ids"]))


def test_generation_changes_neither_the_model_nor_the_random_state(tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    prompts = [encoder.encode(clip, "emotion") for clip in corpus.clips[:2]]
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first = generate(tiny, encoder, prompts, 12)
    assert torch.equal(torch.random.get_rng_state(), state)
    generate(tiny, encoder, [encoder.encode(corpus.clips[3], "prosody")], 12)
    assert generate(tiny, encoder, prompts, 12) == first


def test_in_batches_yields_consecutive_slices() -> None:
    assert [list(part) for part in in_batches(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_batches([], 3)) == []


def test_samples_follow_the_probabilities() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    for temperature in (0.5, 1.0, 2.0):
        draws = 4000
        noise = Noise([f"row {row}" for row in range(draws)], temperature)
        drawn = noise(torch.zeros(draws, 1), logits.expand(draws, 3)).argmax(1)
        expected = (logits / temperature).softmax(0)
        found = torch.bincount(drawn, minlength=3) / draws
        assert ((found - expected).abs() < 4 * (expected * (1 - expected) / draws).sqrt()).all()


def test_samples_do_not_depend_on_the_batch(tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    prompts = [encoder.encode(clip, "prosody") for clip in corpus.clips[:5]]
    seeds = [clip.id for clip in corpus.clips[:5]]
    alone = [generate(tiny, encoder, [prompt], 16, Noise([seed], 3.0))[0] for prompt, seed in zip(prompts, seeds, strict=True)]
    assert generate(tiny, encoder, prompts, 16, Noise(seeds, 3.0)) == alone
    assert generate(tiny, encoder, prompts[::-1], 16, Noise(seeds[::-1], 3.0)) == alone[::-1]
    assert generate(tiny, encoder, prompts, 16, Noise([f"{seed} again" for seed in seeds], 3.0)) != alone
    assert alone != generate(tiny, encoder, prompts, 16)
