"""One gradient whatever the workers and micro-batches; the loss is the reference's, on the answers alone; a diverged run is told."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from lessons import AVERAGES, KINDS, Parts, Poison, Step, adapted, answer, distance, diverged, schedule, short, stage, steps_seen
from workers import Workers

from omnimer_ray.config import Kind, OptimizerConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import DivergedError
from omnimer_ray.model.inputs import IGNORED, Encoder, collate, labels
from omnimer_ray.model.lora import trainable
from omnimer_ray.model.thinker import Thinker
from omnimer_ray.training import loop
from omnimer_ray.training.loop import AnswerLoss, Placement, init_single_process_group, learning_rate, start_engine, train_step
from omnimer_ray.training.schedule import Item

LIMIT = 1e-5  # relative L2, fp32


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
def test_gradient_of_two_workers(parts: Parts, expected: dict[tuple[str, bool], Step], two_workers: Workers, micro_batch: int) -> None:
    for rank, steps in enumerate(two_workers.run(steps_seen, parts, Placement(micro_batch))):
        assert_agrees(steps, expected, f"2 workers x {micro_batch}, rank {rank}")


def test_deepspeeds_buckets_hold_the_adapter_and_no_more(parts: Parts) -> None:
    model, _ = adapted(parts)
    count = sum(parameter.numel() for parameter in trainable(model).values())
    engine = start_engine(model, parts.recipe.optimizer, schedule(parts), Placement(8))
    assert (engine.optimizer.reduce_bucket_size, engine.optimizer.allgather_bucket_size) == (count, count + count % 2)
    engine.destroy()


def test_recompute_gives_the_same_gradient(parts: Parts, expected: dict[tuple[str, bool], Step]) -> None:
    assert_agrees(steps_seen(parts, Placement(8, recompute=True), AVERAGES[2:]), expected, "recompute")


def test_a_bf16_base_has_an_fp32_adapter(parts: Parts, expected: dict[tuple[str, bool], Step]) -> None:
    """Drift is what bf16 activations make; sums over micro-batches add next to nothing."""
    key = ("items", True)
    eight, two = (steps_seen(parts, Placement(micro_batch), (key,), "bf16")[key] for micro_batch in (8, 2))
    drift, apart = distance(eight.gradients, expected[key].gradients), distance(two.gradients, eight.gradients)
    print(f"bf16: relative L2 {drift:.1e} to fp32, {apart:.1e} between micro-batches of 8 and 2")
    assert {value.dtype for value in eight.gradients.values()} == {torch.float32}
    assert eight.loss == pytest.approx(expected[key].loss, rel=1e-3)
    assert drift < 0.1
    assert apart < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_that_of_all_logits(kind: Kind, tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    items = [encoder.encode(clip, kind, answer(clip, kind, number)) for number, clip in enumerate(corpus.clips[:5])]
    targets = labels(items)
    inputs = collate(items, encoder.tokenizer.pad_token_id, "right")
    projected: list[int] = []
    handle = tiny.model.lm_head.register_forward_hook(lambda module, given, out: projected.append(given[0].shape[:-1].numel()))
    with torch.no_grad():
        losses = AnswerLoss(tiny.model)(inputs, targets)
        logits = tiny.model(**inputs).logits
        alone = [tiny.model(**collate([item], 0, "right"), labels=labels([item])).loss for item in items]
    handle.remove()
    num_tokens = (targets != IGNORED).sum(1)
    assert projected[:2] == [int(num_tokens.sum()), targets.numel()]
    summed = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), reduction="none").view(len(items), -1).sum(1)
    assert torch.allclose(losses, summed, rtol=1e-6)
    assert (losses / num_tokens).tolist() == pytest.approx([float(loss) for loss in alone], rel=1e-5)


def test_loss_of_an_adapted_model_is_that_of_its_logits(parts: Parts) -> None:
    model, encoder = adapted(parts)
    items = [encoder.encode(clip, "prosody", answer(clip, "prosody")) for clip in parts.corpus.clips[:2]]
    with torch.no_grad():
        losses = AnswerLoss(model)(collate(items, 0, "right"), labels(items))
        alone = [model(**collate([item], 0, "right"), labels=labels([item])).loss for item in items]
    assert (losses / (labels(items) != IGNORED).sum(1)).tolist() == pytest.approx([float(loss) for loss in alone], rel=1e-5)


def test_a_heartbeat_for_every_micro_batch(parts: Parts) -> None:
    init_single_process_group()
    model, encoder = adapted(parts)
    engine = start_engine(model, parts.recipe.optimizer, schedule(parts), Placement(4))
    beats: list[float] = []
    train_step(engine, encoder, parts.clips, schedule(parts).step(0), "items", Placement(4), 0.0, lambda: beats.append(0.0))
    engine.destroy()
    assert len(beats) == 32 / 4


def test_an_unknown_loss_average_is_refused(parts: Parts) -> None:
    """Before any forward pass, and where the loss is averaged."""
    _, encoder = adapted(parts)
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
    seen = stage(parts, Placement(4), tmp_path).losses
    entries = history(tmp_path)
    assert {entry["step"]: entry["loss"] for entry in entries} == seen
    assert [entry["step"] for entry in entries] == list(range(1, 9))
    assert {entry["num_steps"] for entry in entries} == {8}
    assert [entry["learning_rate"] for entry in entries] == [learning_rate(parts.recipe.optimizer, step, 8) for step in range(8)]
    assert all(0 < entry["grad_norm"] < math.inf for entry in entries)


def test_the_grad_norm_is_that_of_the_whole_gradient(parts: Parts, expected: dict[tuple[str, bool], Step], two_workers: Workers) -> None:
    """Before clipping, and equal on one worker and on two."""
    for key, step in expected.items():
        norm = math.sqrt(sum(float(value.double().square().sum()) for value in step.gradients.values()))
        one = steps_seen(parts, Placement(4), (key,))[key].grad_norm
        two = [steps[key].grad_norm for steps in two_workers.run(steps_seen, parts, Placement(4), (key,))]
        print(f"{key}: norm {norm:.6f}, one worker {one:.6f}, two {two}")
        assert two[0] == two[1]
        assert [one, two[0]] == pytest.approx([norm, norm], rel=LIMIT)


def history(folder: Path) -> list[dict[str, float]]:
    path = folder / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(("backward", "step"), [(1, 1), (2, 1), (6, 3)])  # two micro-batches a step
def test_a_gradient_that_is_not_finite_ends_the_run(parts: Parts, tmp_path: Path, backward: int, step: int, value: float) -> None:
    """DeepSpeed skips such a step without an error; its loss is finite."""
    text = diverged(parts, Placement(4, checkpoint_every=1), tmp_path, Poison(backward, value))
    names = ", ".join(sorted({item.clip for block in short(parts).step(step - 1) for item in block}))
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
    texts = two_workers.run(diverged, parts, placement, tmp_path, Poison(2, math.nan, rank=1))
    assert texts[0] == texts[1]
    assert texts[0].startswith("the gradient norm of step 2 is inf (loss ")
    assert [entry["step"] for entry in history(tmp_path)] == [1]


def test_after_a_divergence_resume_is_bit_equal(parts: Parts, tmp_path: Path) -> None:
    """What was kept of the steps before is what a run without the fault keeps."""
    placement = Placement(4, checkpoint_every=1)
    diverged(parts, placement, tmp_path / "poisoned", Poison(9, math.inf))
    resumed, straight = stage(parts, placement, tmp_path / "poisoned"), stage(parts, placement, tmp_path / "straight")
    assert list(resumed.losses) == [5, 6, 7, 8]
    assert all(torch.equal(value, straight.parameters[name]) for name, value in resumed.parameters.items())


def test_a_parameter_that_is_not_finite_is_never_saved(parts: Parts, tmp_path: Path) -> None:
    """Loss and gradient of the last step are finite, the step itself is not."""
    wild = parts.recipe.model_copy(update={"optimizer": OptimizerConfig(learning_rate=1e37, weight_decay=1e3, warmup_fraction=0)})
    with pytest.raises(
        DivergedError, match=r"^parameter\.base_model\S+ is not finite after training; try a smaller optimizer.learning_rate$"
    ):
        stage(parts._replace(recipe=wild), Placement(8, checkpoint_every=1), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_loss_that_is_no_number_ends_the_run(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([1.25, math.nan])
    monkeypatch.setattr(loop, "train_step", lambda *args: train_step(*args)._replace(loss=next(losses)))
    names = sorted({item.clip for block in short(parts).step(1) for item in block})
    with pytest.raises(DivergedError) as caught:
        stage(parts, Placement(4, checkpoint_every=1), tmp_path)
    assert str(caught.value) == f"the loss of step 2 is nan; its clips: {', '.join(names)}; try a smaller optimizer.learning_rate"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000001"]  # nothing of the diverged step is kept
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1


def test_a_real_divergence_is_seen(parts: Parts, tmp_path: Path) -> None:
    wild = parts.recipe.model_copy(update={"optimizer": OptimizerConfig(learning_rate=1e30, warmup_fraction=0)})
    with pytest.raises(
        DivergedError, match=r"^the loss of step \d is (nan|inf); its clips: clip_\S+, .*; try a smaller optimizer.learning_rate$"
    ):
        stage(parts._replace(recipe=wild), Placement(8), tmp_path)


def test_many_clips_are_not_all_named() -> None:
    items = [tuple(Item(f"clip_{number}", "prosody", "") for number in range(10))]
    assert loop._divergence_message(7, math.inf, 1.0, items) == (
        "the loss of step 7 is inf; its clips: clip_0, clip_1, clip_2, clip_3, clip_4, clip_5, clip_6, clip_7 ...; "
        "try a smaller optimizer.learning_rate"
    )
