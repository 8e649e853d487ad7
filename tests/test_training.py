"""One gradient whatever the workers and micro-batches; the loss is the reference's; a stage goes on where it stopped."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lessons import AVERAGES, Parts, Step, adapted, distance, schedule, stage, steps_seen
from workers import Workers

from omnimer_ray.config import OptimizerConfig, RunConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import DivergedError
from omnimer_ray.inputs import IGNORED, collate, labels
from omnimer_ray.thinker import trainable
from omnimer_ray.training import AnswerLoss, Placement, learning_rate

LIMIT = 1e-5  # relative L2, fp32


@pytest.fixture(scope="session")
def parts(corpus: Corpus, recipe: RunConfig, shared_cache: Path) -> Parts:
    return Parts(corpus, recipe, shared_cache)


@pytest.fixture(scope="session")
def expected(parts: Parts) -> dict[tuple[str, bool], Step]:
    """The step's loss and gradient by the transformers model's own logits and plain autograd, item by item."""
    model, encoder = adapted(parts)
    steps = {}
    for average, weighted in AVERAGES:
        total, losses = 0.0, []
        for item in [item for block in schedule(parts, weighted).step(0) for item in block]:
            encoded = [encoder.encode(parts.clips[item.clip], item.kind, item.answer)]
            target = labels(encoded)
            logits = model(**collate(encoded, encoder.tokenizer.pad_token_id, "right")).logits
            summed = F.cross_entropy(logits[0, :-1], target[0, 1:], ignore_index=IGNORED, reduction="sum")
            num_tokens = int((target != IGNORED).sum())
            losses.append(item.weight * summed / (1 if average == "tokens" else num_tokens))
            total += item.weight * (num_tokens if average == "tokens" else 1)
        loss = torch.stack(losses).sum() / total
        names = trainable(model)
        steps[average, weighted] = Step(loss.item(), dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True)))
    return steps


def assert_agrees(steps: dict[tuple[str, bool], Step], expected: dict[tuple[str, bool], Step], what: str) -> None:
    for key, step in steps.items():
        apart = distance(step.gradients, expected[key].gradients)
        print(f"{what}, {key}: relative L2 {apart:.1e}, loss {step.loss:.6f}")
        assert apart <= LIMIT
        assert step.loss == pytest.approx(expected[key].loss, rel=1e-5)


@pytest.mark.parametrize("micro_batch", [8, 4, 2])
def test_gradient_of_one_worker(parts: Parts, expected: dict[tuple[str, bool], Step], micro_batch: int) -> None:
    assert_agrees(steps_seen(parts, Placement(micro_batch)), expected, f"1 worker x {micro_batch}")


@pytest.mark.parametrize("micro_batch", [4, 2, 1])
def test_gradient_of_two_workers(
    parts: Parts, expected: dict[tuple[str, bool], Step], two_workers: Workers, micro_batch: int
) -> None:
    for rank, steps in enumerate(two_workers.run(steps_seen, parts, Placement(micro_batch))):
        assert_agrees(steps, expected, f"2 workers x {micro_batch}, rank {rank}")
