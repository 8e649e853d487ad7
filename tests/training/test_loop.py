"""Gradients do not depend on workers and micro-batches; the loss equals a reference loss on the answers only; divergence is reported."""

from __future__ import annotations

import gc
import json
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from short_training import (
    AVERAGES,
    KINDS,
    Parts,
    Poison,
    Step,
    adapted_thinker,
    divergence_message,
    eight_steps,
    gold_answer,
    record_steps,
    relative_l2,
    schedule,
    train_stage,
)
from workers import Workers

from omnimer_ray.config import Kind, OptimizerConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import DivergedError
from omnimer_ray.model.inputs import IGNORED, Encoder, collate, labels
from omnimer_ray.model.lora import trainable
from omnimer_ray.model.thinker import Thinker
from omnimer_ray.training import checkpoints, loop
from omnimer_ray.training.feed import PromptFeed
from omnimer_ray.training.loop import (
    AnswerLoss,
    init_single_process_group,
    learning_rate,
    set_recompute,
    start_engine,
    stop_engine,
    train_step,
)
from omnimer_ray.training.placement import Placement
from omnimer_ray.training.schedule import Item

LIMIT = 1e-5  # relative L2, fp32


@pytest.fixture(scope="session")
def expected(parts: Parts) -> dict[tuple[str, bool], Step]:
    """Reference loss and gradient of the step, from the transformers model's logits and plain autograd, item by item."""
    model, encoder = adapted_thinker(parts)
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


def assert_agrees(steps: dict[tuple[str, bool], Step], expected: dict[tuple[str, bool], Step], name: str) -> None:
    for key, step in steps.items():
        difference = relative_l2(step.gradients, expected[key].gradients)
        print(f"{name}, {key}: relative L2 {difference:.1e}, loss {step.loss:.6f}")
        assert difference <= LIMIT
        assert step.loss == pytest.approx(expected[key].loss, rel=1e-5)


@pytest.mark.parametrize("micro_batch", [8, 4, 2])
def test_gradient_on_one_worker_equals_the_reference(parts: Parts, expected: dict[tuple[str, bool], Step], micro_batch: int) -> None:
    assert_agrees(record_steps(parts, Placement(micro_batch)), expected, f"1 worker x {micro_batch}")


@pytest.mark.parametrize("micro_batch", [4, 2, 1])
def test_gradient_on_two_workers_equals_the_reference(
    parts: Parts, expected: dict[tuple[str, bool], Step], two_workers: Workers, micro_batch: int
) -> None:
    for rank, steps in enumerate(two_workers.run(record_steps, parts, Placement(micro_batch))):
        assert_agrees(steps, expected, f"2 workers x {micro_batch}, rank {rank}")


def test_deepspeeds_buckets_have_the_size_of_the_adapter(parts: Parts) -> None:
    model, _ = adapted_thinker(parts)
    count = sum(parameter.numel() for parameter in trainable(model).values())
    engine = start_engine(AnswerLoss(model), parts.recipe.optimizer, schedule(parts), Placement(8))
    assert (engine.optimizer.reduce_bucket_size, engine.optimizer.allgather_bucket_size) == (count, count + count % 2)
    stop_engine(engine)


def test_an_engine_that_is_collected_late_leaves_the_next_one_its_parameters(parts: Parts) -> None:
    init_single_process_group()
    model, _ = adapted_thinker(parts)
    first = start_engine(AnswerLoss(model), parts.recipe.optimizer, schedule(parts), Placement(8))
    stop_engine(first)
    second = start_engine(AnswerLoss(model), parts.recipe.optimizer, schedule(parts), Placement(8))
    del first
    gc.collect()
    read = checkpoints.parameters(second)
    assert all(torch.equal(read[name], value) for name, value in trainable(model).items())
    stop_engine(second)


def test_recompute_of_all_of_some_or_of_no_micro_batches_gives_the_same_gradient_bit_by_bit(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[bool] = []
    monkeypatch.setattr(loop, "set_recompute", lambda model, on: (chosen.append(on), set_recompute(model, on)))
    never, always = (record_steps(parts, Placement(8, recompute=rule), AVERAGES[2:]) for rule in (None, lambda tokens, audio: True))
    assert chosen == [True] * 4  # a micro-batch of each kind
    chosen.clear()
    some = record_steps(parts, Placement(8, recompute=lambda tokens, audio: audio > 0), AVERAGES[2:])
    assert set(chosen) == {False, True}
    for steps in (always, some):
        for key, step in never.items():
            assert steps[key].loss == step.loss
            assert all(torch.equal(steps[key].gradients[name], value) for name, value in step.gradients.items())


def test_layers_that_are_recomputed_run_their_forward_pass_twice(parts: Parts) -> None:
    model, encoder = adapted_thinker(parts)
    passes: list[int] = []
    model.get_base_model().model.language_model.layers[0].mlp.register_forward_pre_hook(lambda *given: passes.append(1))
    items = [encoder.encode(clip, "emotion", gold_answer(clip, "emotion")) for clip in list(parts.clips.values())[:2]]
    batch, targets = collate(items, encoder.tokenizer.pad_token_id, "right"), labels(items)
    model.train().gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for on, expected in ((True, 2), (False, 1)):
        set_recompute(model, on)
        passes.clear()
        AnswerLoss(model)(batch, targets).sum().backward()
        assert len(passes) == expected


def test_a_bf16_base_has_an_fp32_adapter(parts: Parts, expected: dict[tuple[str, bool], Step]) -> None:
    """bf16 activations cause the drift from fp32; summing over micro-batches adds almost nothing to it."""
    key = ("items", True)
    eight, two = (record_steps(parts, Placement(micro_batch), (key,), "bf16")[key] for micro_batch in (8, 2))
    drift, difference = relative_l2(eight.gradients, expected[key].gradients), relative_l2(two.gradients, eight.gradients)
    print(f"bf16: relative L2 {drift:.1e} to fp32, {difference:.1e} between micro-batches of 8 and 2")
    assert {value.dtype for value in eight.gradients.values()} == {torch.float32}
    assert eight.loss == pytest.approx(expected[key].loss, rel=1e-3)
    assert drift < 0.1
    assert difference < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_loss_from_answer_positions_equals_the_loss_from_all_logits(kind: Kind, tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    items = [encoder.encode(clip, kind, gold_answer(clip, kind, number)) for number, clip in enumerate(corpus.clips[:5])]
    targets = labels(items)
    inputs = collate(items, encoder.tokenizer.pad_token_id, "right")
    projected: list[int] = []
    handle = tiny.model.lm_head.register_forward_hook(lambda module, given, out: projected.append(given[0].shape[:-1].numel()))
    with torch.no_grad():
        losses = AnswerLoss(tiny.model)(inputs, targets)
        logits = tiny.model(**inputs).logits
        single = [tiny.model(**collate([item], 0, "right"), labels=labels([item])).loss for item in items]
    handle.remove()
    num_tokens = (targets != IGNORED).sum(1)
    assert projected[:2] == [int(num_tokens.sum()), targets.numel()]
    summed = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), reduction="none").view(len(items), -1).sum(1)
    assert torch.allclose(losses, summed, rtol=1e-6)
    assert (losses / num_tokens).tolist() == pytest.approx([float(loss) for loss in single], rel=1e-5)


def test_loss_of_a_model_with_lora_equals_the_loss_from_all_logits(parts: Parts) -> None:
    model, encoder = adapted_thinker(parts)
    items = [encoder.encode(clip, "prosody", gold_answer(clip, "prosody")) for clip in parts.corpus.clips[:2]]
    with torch.no_grad():
        losses = AnswerLoss(model)(collate(items, 0, "right"), labels(items))
        single = [model(**collate([item], 0, "right"), labels=labels([item])).loss for item in items]
    assert (losses / (labels(items) != IGNORED).sum(1)).tolist() == pytest.approx([float(loss) for loss in single], rel=1e-5)


def test_beat_is_called_after_every_micro_batch(parts: Parts) -> None:
    init_single_process_group()
    model, encoder = adapted_thinker(parts)
    engine = start_engine(AnswerLoss(model), parts.recipe.optimizer, schedule(parts), Placement(4))
    beats: list[float] = []
    train_step(
        engine,
        PromptFeed(encoder, parts.clips, Placement(4)),
        schedule(parts).step(0),
        "items",
        Placement(4),
        0.0,
        lambda: beats.append(0.0),
    )
    stop_engine(engine)
    assert len(beats) == 32 / 4


def test_an_unknown_loss_average_is_refused(parts: Parts) -> None:
    """In the total weight, which is computed before any forward pass, and in the average."""
    _, encoder = adapted_thinker(parts)
    with pytest.raises(AssertionError, match="'clips'"):
        loop._total_weight("clips", encoder, schedule(parts).step(0)[0])  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="'clips'"):
        loop._averaged("clips", torch.ones(2), torch.ones(2))  # type: ignore[arg-type]


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    settings = OptimizerConfig(learning_rate=2.0, warmup_fraction=0.2)
    rates = [learning_rate(settings, step, 20) for step in range(20)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[12] == pytest.approx(1.0)
    assert rates == rates[:4] + sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] == pytest.approx(1 + math.cos(math.pi * 15 / 16))
    assert learning_rate(settings, 20, 20) == pytest.approx(0)
    assert learning_rate(OptimizerConfig(learning_rate=3.0, warmup_fraction=0), 0, 1) == 3


def test_history_has_every_step_once(parts: Parts, tmp_path: Path) -> None:
    losses = train_stage(parts, Placement(4), tmp_path).losses
    entries = history(tmp_path)
    assert {entry["step"]: entry["loss"] for entry in entries} == losses
    assert [entry["step"] for entry in entries] == list(range(1, 9))
    assert {entry["num_steps"] for entry in entries} == {8}
    assert [entry["learning_rate"] for entry in entries] == [learning_rate(parts.recipe.optimizer, step, 8) for step in range(8)]
    assert all(0 < entry["grad_norm"] < math.inf for entry in entries)


def test_the_grad_norm_is_the_norm_of_the_whole_gradient(
    parts: Parts, expected: dict[tuple[str, bool], Step], two_workers: Workers
) -> None:
    """The norm before clipping; it is equal on one worker and on two."""
    for key, step in expected.items():
        norm = math.sqrt(sum(float(value.double().square().sum()) for value in step.gradients.values()))
        one = record_steps(parts, Placement(4), (key,))[key].grad_norm
        two = [steps[key].grad_norm for steps in two_workers.run(record_steps, parts, Placement(4), (key,))]
        print(f"{key}: norm {norm:.6f}, one worker {one:.6f}, two {two}")
        assert two[0] == two[1]
        assert [one, two[0]] == pytest.approx([norm, norm], rel=LIMIT)


def history(folder: Path) -> list[dict[str, float]]:
    path = folder / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(("backward", "step"), [(1, 1), (2, 1), (6, 3)])  # two micro-batches a step
def test_a_gradient_that_is_not_finite_ends_the_run(parts: Parts, tmp_path: Path, backward: int, step: int, value: float) -> None:
    """DeepSpeed skips such a step without an error, and its loss is finite."""
    text = divergence_message(parts, Placement(4, checkpoint_every=1), tmp_path, Poison(backward, value))
    names = ", ".join(sorted({item.clip for block in eight_steps(parts).step(step - 1) for item in block}))
    assert re.fullmatch(
        rf"the gradient norm of step {step} is inf \(loss \d\.\d+\); its clips: {re.escape(names)}; try a smaller optimizer.learning_rate",
        text,
    )
    assert [entry["step"] for entry in history(tmp_path)] == list(range(1, step))
    kept = sorted(path.name for path in tmp_path.glob("checkpoints/*"))
    assert kept == [f"{number:06d}" for number in range(1, step)]


@pytest.mark.parametrize("zero_stage", [1, 2])
def test_a_bad_gradient_of_one_rank_ends_all_ranks(parts: Parts, two_workers: Workers, tmp_path: Path, zero_stage: int) -> None:
    placement = Placement(4, zero_stage=zero_stage, checkpoint_every=1)
    messages = two_workers.run(divergence_message, parts, placement, tmp_path, Poison(2, math.nan, rank=1))
    assert messages[0] == messages[1]
    assert messages[0].startswith("the gradient norm of step 2 is inf (loss ")
    assert [entry["step"] for entry in history(tmp_path)] == [1]


def test_after_a_divergence_resume_is_bit_equal(parts: Parts, tmp_path: Path) -> None:
    """The checkpoint from before the divergence equals that of a run without the fault."""
    placement = Placement(4, checkpoint_every=1)
    divergence_message(parts, placement, tmp_path / "poisoned", Poison(9, math.inf))
    resumed, straight = train_stage(parts, placement, tmp_path / "poisoned"), train_stage(parts, placement, tmp_path / "straight")
    assert list(resumed.losses) == [5, 6, 7, 8]
    assert all(torch.equal(value, straight.parameters[name]) for name, value in resumed.parameters.items())


def test_a_parameter_that_is_not_finite_is_never_saved(parts: Parts, tmp_path: Path) -> None:
    """Loss and gradient of the last step are finite, but the updated parameters are not."""
    diverging = parts.recipe.model_copy(update={"optimizer": OptimizerConfig(learning_rate=1e37, weight_decay=1e3, warmup_fraction=0)})
    with pytest.raises(
        DivergedError, match=r"^parameter\.base_model\S+ is not finite after training; try a smaller optimizer.learning_rate$"
    ):
        train_stage(parts._replace(recipe=diverging), Placement(8, checkpoint_every=1), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_nan_loss_ends_the_run(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.25, math.nan])
    monkeypatch.setattr(loop, "train_step", lambda *args: train_step(*args)._replace(loss=next(losses)))
    names = sorted({item.clip for block in eight_steps(parts).step(1) for item in block})
    with pytest.raises(DivergedError) as caught:
        train_stage(parts, Placement(4, checkpoint_every=1), tmp_path)
    assert str(caught.value) == f"the loss of step 2 is nan; its clips: {', '.join(names)}; try a smaller optimizer.learning_rate"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000001"]  # the diverged step writes no checkpoint
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1


def test_a_too_large_learning_rate_is_reported_as_divergence(parts: Parts, tmp_path: Path) -> None:
    diverging = parts.recipe.model_copy(update={"optimizer": OptimizerConfig(learning_rate=1e30, warmup_fraction=0)})
    with pytest.raises(
        DivergedError, match=r"^the loss of step \d is (nan|inf); its clips: clip_\S+, .*; try a smaller optimizer.learning_rate$"
    ):
        train_stage(parts._replace(recipe=diverging), Placement(8), tmp_path)


def test_the_divergence_message_names_at_most_eight_clips() -> None:
    items = [tuple(Item(f"clip_{number}", "prosody", "") for number in range(10))]
    assert loop._divergence_message(7, math.inf, 1.0, items) == (
        "the loss of step 7 is inf; its clips: clip_0, clip_1, clip_2, clip_3, clip_4, clip_5, clip_6, clip_7 ...; "
        "try a smaller optimizer.learning_rate"
    )
