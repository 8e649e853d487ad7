"""A training step of all four kinds of item, and a short stage, for tests; runs in the test's process and in `workers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_grad

from omnimer_ray.config import AUXILIARY_OF, Kind, RunConfig
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.errors import DivergedError
from omnimer_ray.model.bases import locate
from omnimer_ray.model.inputs import Encoder
from omnimer_ray.model.lora import place_lora, trainable
from omnimer_ray.model.thinker import load_thinker
from omnimer_ray.tasks.instructions import Parsed, Style, auxiliary_answer, main_answer
from omnimer_ray.training import checkpoints
from omnimer_ray.training.loop import Placement, init_single_process_group, start_engine, train, train_step
from omnimer_ray.training.schedule import Item, Schedule

KINDS: tuple[Kind, ...] = ("emotion", *AUXILIARY_OF)
EXPLANATIONS = ("an even tone", "the words tell of nothing in particular", "one corner of the mouth is raised, then the other")

Tensors = dict[str, torch.Tensor]
Averages = tuple[tuple[str, bool], ...]  # loss average, unequal weights
AVERAGES: Averages = (("items", False), ("items", True), ("tokens", True))


class Parts(NamedTuple):
    """What a worker needs to load everything by itself."""

    corpus: Corpus
    recipe: RunConfig
    cache: Path

    @property
    def clips(self) -> dict[str, Clip]:
        return {clip.id: clip for clip in self.corpus.clips}


class Step(NamedTuple):
    """One optimizer step as it was seen: its loss, the gradient over the global batch, and DeepSpeed's norm of it."""

    loss: float
    gradients: Tensors
    grad_norm: float = 0.0


class Poison(NamedTuple):
    """Makes one value of the gradient of one rank's `backward`th micro-batch not finite, while its loss stays finite."""

    backward: int  # from 1, counted in this process
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


class Trained(NamedTuple):
    """A stage's end: whether it is whole, its trainable parameters, and the losses reported in this process by step."""

    whole: bool
    parameters: Tensors
    losses: dict[int, float]


def answer(clip: Clip, kind: Kind, number: int = 0) -> str:
    """A gold answer; explanations of three lengths."""
    style = Style("prompt", "en")
    if kind in ("sentiment", "emotion"):
        return main_answer(clip, kind, style)
    parsed = Parsed(None, None, tuple(clip.text.split()[: number % 3]), EXPLANATIONS[number % 3])
    return auxiliary_answer(kind, "neutral", parsed, style)


def schedule(parts: Parts, weighted: bool = False, steps: int = 1) -> Schedule:
    """`steps` steps of 32 items: one block of 8 of each of four kinds."""
    clips = parts.corpus.split("train")
    items = {
        kind: tuple(Item(clip.id, kind, answer(clip, kind, n), 0.5 + n % 5 if weighted else 1.0) for n, clip in enumerate(clips))
        for kind in KINDS
    }
    return Schedule(items, epochs=steps * 32 / (4 * len(clips)), global_batch=32, block=8, seed=3)


def adapted(parts: Parts, precision: str = "fp32") -> tuple[Any, Encoder]:
    """A tiny Thinker with LoRA whose B is not zero, so that A has a gradient too; and its encoder."""
    thinker = load_thinker(locate("tiny"), precision)
    model, _ = place_lora(thinker.model, parts.recipe.lora, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            if "lora_B" in name:
                parameter.copy_(torch.empty(parameter.shape).normal_(0, 0.02, generator=generator))
    return model, Encoder(thinker.processor, parts.recipe, parts.cache)


def steps_seen(parts: Parts, placement: Placement, averages: Averages = AVERAGES, precision: str = "fp32") -> dict[tuple[str, bool], Step]:
    """One step at rate 0 for each of `averages`, through DeepSpeed."""
    init_single_process_group()
    model, encoder = adapted(parts, precision)
    engine = start_engine(model, parts.recipe.optimizer, schedule(parts), placement)
    seen = _watch(engine)
    steps = {}
    for average, weighted in averages:
        result = train_step(engine, encoder, parts.clips, schedule(parts, weighted).step(0), average, placement, rate=0.0)
        steps[average, weighted] = Step(result.loss, dict(seen), result.grad_norm)
    engine.destroy()
    return steps


def stage(
    parts: Parts,
    placement: Placement,
    folder: Path,
    identity: str = "stage",
    stop_after: int | None = None,
    poison: Poison | None = None,
) -> Trained:
    """Trains a stage of eight steps from whatever exists in `folder`; asks it to stop after `stop_after` steps of this process."""
    init_single_process_group()
    model, encoder = adapted(parts)
    if poison is not None:
        poison.hook(model)
    plan = short(parts)
    engine = start_engine(model, parts.recipe.optimizer, plan, placement)
    losses: dict[int, float] = {}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        whole = train(
            engine,
            encoder,
            parts.clips,
            plan,
            parts.recipe.optimizer,
            "items",
            placement,
            folder,
            identity,
            lambda report: losses.update({report.step: report.loss}),
            _Bell(stop_after),
        )
        return Trained(whole, checkpoints.parameters(engine), losses)
    finally:
        engine.destroy()


def diverged(parts: Parts, placement: Placement, folder: Path, poison: Poison) -> str:
    """Text of the DivergedError that ends a poisoned stage on this rank."""
    try:
        stage(parts, placement, folder, poison=poison)
    except DivergedError as error:
        return str(error)
    raise AssertionError("the poisoned stage ended without a DivergedError")


def short(parts: Parts) -> Schedule:
    """Eight steps of one block: of text and sound in turn."""
    clips = parts.corpus.split("train")
    items = {kind: tuple(Item(clip.id, kind, answer(clip, kind, n), 0.5 + n % 5) for n, clip in enumerate(clips)) for kind in KINDS[1::2]}
    return Schedule(items, epochs=2, global_batch=8, block=8, seed=3)


class _Bell:
    """Rings when it is asked for the `at`th time; a step asks once, after it was computed."""

    def __init__(self, at: int | None) -> None:
        self.at, self.asked = at, 0

    def __call__(self, step: int) -> bool:
        self.asked += 1
        return self.asked == self.at


def distance(ours: Tensors, theirs: Tensors) -> float:
    """Relative L2 over all tensors together."""
    assert set(ours) == set(theirs)
    difference = sum(float((ours[name].double() - theirs[name].double()).square().sum()) for name in ours)
    return float((difference / sum(float(value.double().square().sum()) for value in theirs.values())) ** 0.5)


def _watch(engine: Any) -> Tensors:
    """The gradients of the last optimizer step, as they stood before it."""
    seen: Tensors = {}
    step = engine.step

    def watched() -> None:
        if engine.is_gradient_accumulation_boundary():
            seen.update({name: safe_get_full_grad(parameter).clone() for name, parameter in trainable(engine.module.model).items()})
        step()

    engine.step = watched
    return seen
