"""Exact scores equal decoding token by token and teacher forcing, for untrained, adapted and disturbed models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from omnimer_ray.config import LoraConfig, Task
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.model.bases import Base
from omnimer_ray.model.generation import generate
from omnimer_ray.model.inputs import Encoder, collate, labels
from omnimer_ray.model.lora import place_lora
from omnimer_ray.model.scoring import AnswerTree, answer_tree, logit_changes, score
from omnimer_ray.model.thinker import Thinker, load_thinker
from omnimer_ray.tasks.instructions import Style, closed_answers, main_answer
from omnimer_ray.training.loop import AnswerLoss

STEPS = 40
CLOSED = {"sentiment": 3, "emotion": 21}


def closed(task: Task, fitting: bool = False) -> list[str]:
    return list(closed_answers(task, Style("prompt", "en"), fitting))


@pytest.fixture(scope="module")
def trained(tiny_base: Base, encoder: Encoder, corpus: Corpus) -> Thinker:
    """A tiny Thinker that answers both tasks in the format after a few steps on all of its language layers."""
    thinker = load_thinker(tiny_base, "fp32")
    weights = [*thinker.model.model.language_model.parameters(), *thinker.model.lm_head.parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    optimizer, loss_of = torch.optim.AdamW(weights, lr=1e-3), AnswerLoss(thinker.model)
    clips, style = corpus.split("train"), Style("prompt", "en")
    for step in range(STEPS):
        task: Task = ("sentiment", "emotion")[step % 2]  # type: ignore[assignment]
        part = [clips[(4 * step + place) % len(clips)] for place in range(4)]
        items = [encoder.encode(clip, task, main_answer(clip, task, style)) for clip in part]
        loss_of(collate(items, 0, "right"), labels(items)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    thinker.model.requires_grad_(False)
    return thinker


@contextmanager
def disturbed(thinker: Thinker, strength: float) -> Iterator[None]:
    """Add noise to the weights of the head."""
    weight = thinker.model.lm_head.weight
    kept = weight.clone()
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    weight.add_(noise, alpha=strength)
    try:
        yield
    finally:
        weight.copy_(kept)


NOISES = (0.0, 0.1, 0.4)


@pytest.mark.parametrize("task", ["sentiment", "emotion"])
def test_an_accepted_answer_is_the_generated_one_and_a_refused_one_is_outside(
    task: Task, trained: Thinker, encoder: Encoder, corpus: Corpus
) -> None:
    items, tree = [encoder.encode(clip, task) for clip in corpus.clips], answer_tree(encoder, closed(task))
    accepted = []
    for noise in NOISES:
        with disturbed(trained, noise):
            found = [one.answer for one in score(trained, encoder, items, tree)]
            generated = generate(trained, encoder, items, 48)
        assert [a or g for a, g in zip(found, generated, strict=True)] == generated
        assert all(g not in closed(task) for a, g in zip(found, generated, strict=True) if a is None)
        accepted.append(sum(answer is not None for answer in found))
    assert accepted[0] >= 20  # of 24: the trained model
    assert 0 < sum(accepted[1:]) < 2 * len(items)  # the disturbed ones


@pytest.mark.parametrize("task", ["sentiment", "emotion"])
def test_the_untrained_base_is_not_in_the_format(task: Task, tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    items = [encoder.encode(clip, task) for clip in corpus.clips[:8]]
    found = [one.answer for one in score(tiny, encoder, items, answer_tree(encoder, closed(task)))]
    assert found == [text if text in closed(task) else None for text in generate(tiny, encoder, items, 48)]


def test_probabilities_equal_teacher_forcing_with_an_adapter(fresh: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    model, _ = place_lora(fresh.model, LoraConfig(), 0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    adapted = fresh._replace(model=model)
    clips, answers = corpus.clips[:3], closed("emotion")
    scored = score(adapted, encoder, [encoder.encode(clip, "emotion") for clip in clips], answer_tree(encoder, answers))
    thinker = model.get_base_model()
    for clip, one in zip(clips, scored, strict=True):
        for text, value in list(zip(answers, one.log_probabilities, strict=True))[::5]:
            item = encoder.encode(clip, "emotion", text)
            with torch.no_grad():
                hidden = thinker.model(**collate([item], 0, "right"), use_cache=False).last_hidden_state[0]
                logs = thinker.lm_head(hidden[item.answer_start - 1 : -1]).double().log_softmax(-1)
            forced = logs.gather(1, item.input_ids[item.answer_start :, None]).sum()
            assert value == pytest.approx(float(forced), abs=1e-4)


def test_scores_do_not_depend_on_the_batch(tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    items, tree = [encoder.encode(clip, "emotion") for clip in corpus.clips[:4]], answer_tree(encoder, closed("emotion"))
    together = score(tiny, encoder, items, tree)
    for item, one in zip(items, together, strict=True):
        alone = score(tiny, encoder, [item], tree)[0]
        assert alone.answer == one.answer
        assert alone.log_probabilities == pytest.approx(one.log_probabilities, abs=1e-4)


def test_constrained_decoding_never_leaves_the_tree(tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    answers = closed("emotion", fitting=True)
    scored = score(
        tiny, encoder, [encoder.encode(clip, "emotion") for clip in corpus.clips[:6]], answer_tree(encoder, answers), constrained=True
    )
    assert len(answers) == 7
    assert all(one.answer in answers for one in scored)


@pytest.mark.parametrize("task", ["sentiment", "emotion"])
def test_the_closed_set_has_every_answer_once(task: Task, encoder: Encoder) -> None:
    tree = answer_tree(encoder, closed(task))
    assert len(tree.answers) == len(tree.ends) == CLOSED[task]


def test_a_tree_shares_what_its_answers_begin_with() -> None:
    tree = AnswerTree({"a": [5, 6, 9], "b": [5, 7, 9], "c": [5, 6, 8, 9]})
    assert tree.tokens[1:] == [5, 6, 9, 7, 9, 8, 9]
    assert tree.parents[1:] == [0, 1, 2, 1, 4, 2, 6]
    assert tree.depths[1:] == [1, 2, 3, 2, 3, 3, 4]
    assert tree.num_tokens("c") == 4
    assert tree.ancestors()[6].tolist() == [True, True, False, False, False, True, True]


def test_a_walk_takes_the_best_token_and_gives_up_outside_the_tree() -> None:
    tree = AnswerTree({"a": [1, 3], "b": [2, 3]})
    logits = torch.zeros(len(tree.tokens), 5)
    logits[0, 2] = logits[3, 3] = 1.0
    assert tree.walk(logits, constrained=False) == "b"
    logits[0, 4] = 2.0
    assert tree.walk(logits, constrained=False) is None
    assert tree.walk(logits, constrained=True) == "b"


def test_log_probabilities_are_sums_over_the_tokens() -> None:
    tree = AnswerTree({"a": [1, 3], "b": [2, 3]})
    logits = torch.zeros(len(tree.tokens), 4)
    logits[0, 1] = 1.0
    first = torch.tensor([0.0, 1.0, 0.0, 0.0]).log_softmax(0)
    last = float(torch.zeros(4).log_softmax(0)[3])
    assert tree.log_probabilities(logits) == pytest.approx([float(first[1]) + last, float(first[2]) + last])


def test_logits_change_with_adapter_sound_and_pictures(fresh: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    item = encoder.encode(corpus.clips[0], "sentiment")
    plain = logit_changes(fresh, encoder, item)
    assert set(plain) == {"sound", "frames"}
    assert min(plain.values()) > 1e-4
    assert set(logit_changes(fresh, encoder, encoder.encode(corpus.clips[0], "text_keywords"))) == set()
    model, _ = place_lora(fresh.model, LoraConfig(), seed=0)
    adapted = fresh._replace(model=model.eval())
    assert logit_changes(adapted, encoder, item)["adapter"] == 0, "LoRA's B is zero before the first step"
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.05)
    assert logit_changes(adapted, encoder, item)["adapter"] > 1e-3
