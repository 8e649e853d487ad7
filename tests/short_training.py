"""A training step with all four kinds of item, and a short stage, for tests; both run in the test's process and in `workers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_grad

from omnimer_ray.config import AUXILIARY_OF, Kind, ThinkerConfig
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.errors import DivergedError
from omnimer_ray.model.bases import locate
from omnimer_ray.model.inputs import Encoder
from omnimer_ray.model.lora import place_lora, trainable
from omnimer_ray.model.thinker import load_thinker
from omnimer_ray.tasks.instructions import Parsed, Style, auxiliary_answer, main_answer
from omnimer_ray.training import checkpoints
from omnimer_ray.training.feed import PromptFeed
from omnimer_ray.training.loop import AnswerLoss, init_single_process_group, start_engine, stop_engine, train, train_step
from omnimer_ray.training.placement import Placement
from omnimer_ray.training.schedule import Item, Schedule

KINDS: tuple[Kind, ...] = ("emotion", *AUXILIARY_OF)
EXPLANATIONS = ("an even tone", "the words tell of nothing in particular", "one corner of the mouth is raised, then the other")

Tensors = dict[str, torch.Tensor]
Averages = tuple[tuple[str, bool], ...]  # loss average, unequal weights
AVERAGES: Averages = (("items", False), ("items", True), ("tokens", True))


class Parts(NamedTuple):
    """Picklable inputs from which a worker loads model, encoder and clips."""

    corpus: Corpus
    recipe: ThinkerConfig
    cache: Path

    @property
    def clips(self) -> dict[str, Clip]:
        return {clip.id: clip for clip in self.corpus.clips}


class Step(NamedTuple):
    """Recorded values of one optimizer step: loss, gradient over the global batch, and DeepSpeed's norm of the gradient."""

    loss: float
    gradients: Tensors
    grad_norm: float = 0.0


class Poison(NamedTuple):
    """Fault injection: set one value of the gradient of one rank's micro-batch to `value`; the loss stays finite."""

    backward: int  # number of the micro-batch in this process, from 1
    value: float
    rank: int = 0

    def hook(self, model: Any) -> None:
        calls = 0

        def poison(gradient: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls != self.backward or dist.get_rank() != self.rank:
                return gradient
            poisoned = gradient.clone()
            poisoned[0, 0] = self.value
            return poisoned

        next(value for name, value in trainable(model).items() if "language_model" in name and "lora_B" in name).register_hook(poison)


class TrainedStage(NamedTuple):
    """Result of `train_stage`: whether the stage is finished, its trainable parameters, and the losses reported in this process, by step."""

    finished: bool
    parameters: Tensors
    losses: dict[int, float]


def gold_answer(clip: Clip, kind: Kind, number: int = 0) -> str:
    """Return a gold answer; explanations have three lengths, chosen by `number`."""
    style = Style("prompt", "en")
    if kind in ("sentiment", "emotion"):
        return main_answer(clip, kind, style)
    parsed = Parsed(None, None, tuple(clip.text.split()[: number % 3]), EXPLANATIONS[number % 3])
    return auxiliary_answer(kind, "neutral", parsed, style)


def schedule(parts: Parts, weighted: bool = False, steps: int = 1) -> Schedule:
    """Schedule of `steps` steps of 32 items: one block of 8 items of each of four kinds."""
    clips = parts.corpus.split("train")
    items = {
        kind: tuple(Item(clip.id, kind, gold_answer(clip, kind, n), 0.5 + n % 5 if weighted else 1.0) for n, clip in enumerate(clips))
        for kind in KINDS
    }
    return Schedule(items, epochs=steps * 32 / (4 * len(clips)), global_batch=32, block=8, seed=3)


def adapted_thinker(parts: Parts, precision: str = "fp32") -> tuple[Any, Encoder]:
    """Return a tiny Thinker with LoRA and its encoder; LoRA's B is not zero, so that A has a gradient too."""
    thinker = load_thinker(locate("tiny"), precision)
    model, _ = place_lora(thinker.model, parts.recipe.lora, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            if "lora_B" in name:
                parameter.copy_(torch.empty(parameter.shape).normal_(0, 0.02, generator=generator))
    return model, Encoder(thinker.processor, parts.recipe, parts.cache)


def record_steps(
    parts: Parts, placement: Placement, averages: Averages = AVERAGES, precision: str = "fp32"
) -> dict[tuple[str, bool], Step]:
    """Take one DeepSpeed step with learning rate 0 for each of `averages`, and record it."""
    init_single_process_group()
    model, encoder = adapted_thinker(parts, precision)
    engine = start_engine(AnswerLoss(model), parts.recipe.optimizer, schedule(parts), placement)
    gradients = _record_gradients(engine)
    steps = {}
    for average, weighted in averages:
        result = train_step(
            engine, PromptFeed(encoder, parts.clips, placement), schedule(parts, weighted).step(0), average, placement, rate=0.0
        )
        steps[average, weighted] = Step(result.loss, dict(gradients), result.grad_norm)
    stop_engine(engine)
    return steps


def train_stage(
    parts: Parts,
    placement: Placement,
    folder: Path,
    identity: str = "stage",
    stop_after: int | None = None,
    poison: Poison | None = None,
    plan: Schedule | None = None,
    carried: checkpoints.Carried | None = None,
) -> TrainedStage:
    """Train a stage of eight steps, or of `plan`, resuming from the files in `folder`; stop it after `stop_after` steps in this process.

    The optimizer state at its end is written for a next stage.
    """
    init_single_process_group()
    model, encoder = adapted_thinker(parts)
    if poison is not None:
        poison.hook(model)
    plan = plan or eight_steps(parts)
    engine = start_engine(AnswerLoss(model), parts.recipe.optimizer, plan, placement)
    losses: dict[int, float] = {}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        finished = train(
            engine,
            PromptFeed(encoder, parts.clips, placement),
            plan,
            parts.recipe.optimizer,
            "items",
            placement,
            folder,
            identity,
            lambda report: losses.update({report.step: report.loss}),
            _StopAfter(stop_after),
            carried=carried,
        )
        if finished:
            checkpoints.save_carried(engine, folder)
        return TrainedStage(finished, checkpoints.parameters(engine), losses)
    finally:
        stop_engine(engine)


def divergence_message(parts: Parts, placement: Placement, folder: Path, poison: Poison) -> str:
    """Return the message of the DivergedError that a poisoned stage raises on this rank."""
    try:
        train_stage(parts, placement, folder, poison=poison)
    except DivergedError as error:
        return str(error)
    raise AssertionError("the poisoned stage ended without a DivergedError")


def eight_steps(parts: Parts) -> Schedule:
    """Schedule of eight steps of one block each, text keywords and prosody in alternation."""
    clips = parts.corpus.split("train")
    items = {
        kind: tuple(Item(clip.id, kind, gold_answer(clip, kind, n), 0.5 + n % 5) for n, clip in enumerate(clips)) for kind in KINDS[1::2]
    }
    return Schedule(items, epochs=2, global_batch=8, block=8, seed=3)


class _StopAfter:
    """`should_stop` callback that returns True at its `limit`th call; it is called once after each step."""

    def __init__(self, limit: int | None) -> None:
        self.limit, self.calls = limit, 0

    def __call__(self, step: int) -> bool:
        self.calls += 1
        return self.calls == self.limit


def relative_l2(ours: Tensors, theirs: Tensors) -> float:
    """Relative L2 distance over all tensors together."""
    assert set(ours) == set(theirs)
    difference = sum(float((ours[name].double() - theirs[name].double()).square().sum()) for name in ours)
    return float((difference / sum(float(value.double().square().sum()) for value in theirs.values())) ** 0.5)


def _record_gradients(engine: Any) -> Tensors:
    """Return a dictionary that always contains the gradients of the last optimizer step, from before the update."""
    gradients: Tensors = {}
    step = engine.step

    def recording_step() -> None:
        if engine.is_gradient_accumulation_boundary():
            gradients.update({name: safe_get_full_grad(parameter).clone() for name, parameter in trainable(engine.module.model).items()})
        step()

    engine.step = recording_step
    return gradients
