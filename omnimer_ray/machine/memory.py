"""Estimate of a worker's memory, computed from the base's sizes; nothing is loaded.

Symbols: D width, I width of the MLP, H heads, K width of keys and values, r rank, A answer tokens, V vocabulary; audio tower: d width,
F width of the MLP; vision tower: h width, I width of the MLP. The activations that a layer saves for the backward pass were measured on
a CPU with the real classes, and tests/machine/test_memory.py measures them again; no total has been confirmed on a GPU yet.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

from omnimer_ray.config import LoraConfig, ThinkerConfig
from omnimer_ray.errors import ConfigError
from omnimer_ray.machine.profile import MachineProfile
from omnimer_ray.model.dimensions import (
    AUDIO_ATTENTION,
    LANGUAGE_ATTENTION,
    PLACEMENTS,
    VISION_ATTENTION,
    Shape,
    Target,
    lora_parameters,
    parameters,
)

GIB = 2**30
BYTES = {"fp32": 4, "bf16": 2}
RESERVE_GIB = 1.0  # assumed, for the CUDA context, NCCL and fragmentation of the allocator
WITHOUT_RECOMPUTE = 0.9  # [A] share of a worker's memory that a micro-batch may need by the estimate and be trained without recompute
PROMPT_TOKENS = 512  # a generous upper bound for an instruction with its transcript
COUNTED = {LANGUAGE_ATTENTION, AUDIO_ATTENTION, VISION_ATTENTION}  # targets that the formulas for LoRA cover
SAVINGS: tuple[tuple[str, Any], ...] = (("evaluation_batch", 1), ("micro_batch", 1), ("recompute", True))  # cheapest first


class Item(NamedTuple):
    """Numbers of tokens of one item."""

    text: int
    audio: int = 0
    video: int = 0
    answer: int = 128

    @property
    def total(self) -> int:
        """Length of the sequence in the language layers."""
        return self.text + self.audio + self.video + self.answer


class Setup(NamedTuple):
    """Settings of a run and its machine profile that determine memory."""

    lora: LoraConfig = LoraConfig()
    precision: str = "bf16"
    workers: int = 1
    micro_batch: int = 1
    evaluation_batch: int = 1
    zero_stage: int = 2
    recompute: bool = True
    off_card: Collection[str] = ()  # fields of Parameters that are not in GPU memory


class MemoryEstimate(NamedTuple):
    """Memory of one worker in GiB, by part. Training and evaluation do not overlap, so a worker needs the larger of the two."""

    weights: float
    training_state: float  # LoRA with gradients, Adam's moments and DeepSpeed's buffers
    kept: float  # activations saved for the backward pass
    working: float  # peak of temporary tensors beside the saved activations
    decoding: float  # key-value cache and widest layer for the evaluation's prompts
    reserve: float

    @property
    def training_gib(self) -> float:
        """Memory during a training step."""
        return self.weights + self.training_state + self.kept + self.working + self.reserve

    @property
    def evaluation_gib(self) -> float:
        """Memory while answers are decoded; the optimizer is freed before."""
        return self.weights + self.decoding + self.reserve

    @property
    def total_gib(self) -> float:
        """Memory that the worker needs."""
        return max(self.training_gib, self.evaluation_gib)


def estimate(shape: Shape, setup: Setup, item: Item) -> MemoryEstimate:
    """Estimate a worker's memory for micro-batches of the longest item; padding counts as tokens."""
    size, batch = BYTES[setup.precision], setup.micro_batch
    counted = {name: count for name, count in parameters(shape)._asdict().items() if name not in setup.off_card}
    kept = _language_kept(shape, setup, item.total) + _tower_kept(shape, setup, item)
    # The backward pass through an MLP needs the gradients of its three products beside the saved activations, and some tensors of the
    # model's width (measured: 6 I + 5 D bytes per token in bf16). The logits, three fp32 copies of (A, V), are freed before that.
    around = size * (3 * shape.mlp + 2.5 * shape.width) * item.total
    logits = 12 * shape.vocabulary * item.answer
    # Decoding: the cache stores the prompts' keys and values; the peak is in one layer's MLP; padded prompts have an attention mask.
    mask = size * item.total**2 if setup.evaluation_batch > 1 else 0
    prompt = size * 2 * shape.kv_width * shape.layers * item.total + around + mask
    return MemoryEstimate(
        weights=size * sum(counted.values()) / GIB,
        training_state=_training_state(lora_parameters(shape, setup.lora), setup) / GIB,
        kept=batch * kept / GIB,
        working=batch * max(around, logits) / GIB,
        decoding=setup.evaluation_batch * prompt / GIB,
        reserve=RESERVE_GIB,
    )


def max_tokens(card_gib: float, shape: Shape, setup: Setup, answer: int = 0, audio: int = 0) -> int:
    """Length in tokens of the longest item whose training step fits, 0 if none fits; `answer` and `audio` of the tokens have that type."""

    def needs(tokens: int) -> float:
        return estimate(shape, setup, Item(tokens - answer - audio, audio=audio, answer=answer)).training_gib

    return max(0, bisect.bisect_right(range(1 << 20), card_gib, key=needs) - 1)


def refusal(card_gib: float, shape: Shape, setup: Setup, item: Item) -> str | None:
    """Reason why a worker does not fit, with the profile settings that would make it fit; None if it fits."""
    needed = estimate(shape, setup, item)
    if needed.total_gib <= card_gib:
        return None
    text = (
        f"a worker needs {needed.training_gib:.1f} GiB to train and {needed.evaluation_gib:.1f} to decode items of {item.total} tokens, "
        f"and has {card_gib:.1f}; "
    )
    smaller, changes = setup, dict[str, object]()
    for name, value in SAVINGS:
        if getattr(smaller, name) == value:
            continue
        smaller, changes = smaller._replace(**{name: value}), {**changes, name: value}
        if estimate(shape, smaller, item).total_gib <= card_gib:
            return text + "it fits with " + ", ".join(f"{name}: {str(value).lower()}" for name, value in changes.items())
    longest = max_tokens(card_gib, shape, smaller, item.answer)
    if longest == 0:
        return text + "no profile makes this base fit; choose a smaller base or a card with more memory"
    return text + f"with all savings items of {longest} tokens fit; lower media.max_pixels or media.max_sec, or choose a larger card"


def setup_of(profile: MachineProfile, config: ThinkerConfig) -> Setup:
    """Setup of a config's run under a machine profile."""
    return Setup(
        lora=config.lora,
        precision=config.base.precision,
        workers=max(1, profile.workers_per_run),
        micro_batch=profile.micro_batch,
        evaluation_batch=profile.evaluation_batch,
        zero_stage=profile.zero_stage,
        recompute=bool(profile.recompute),
    )


def recompute_rule(
    profile: MachineProfile, gib: float, shape: Shape | None, config: ThinkerConfig, off_card: Collection[str] = ()
) -> Callable[[int, int], bool] | None:
    """Whether a micro-batch of so many padded tokens an item, so many of them of sound, is recomputed on a worker with so much memory.

    None: none is. Each is with `recompute: always`, or if the base's sizes are not known.
    """
    if not profile.recompute:
        return None
    limit = 0.0 if profile.recompute == "always" or shape is None else WITHOUT_RECOMPUTE * gib
    setup = setup_of(profile, config)._replace(recompute=False, off_card=off_card)
    return partial(_exceeds, limit, shape or Shape(), setup, longest_item(config).answer)


def _exceeds(gib: float, shape: Shape, setup: Setup, answer: int, tokens: int, audio: int) -> bool:
    return estimate(shape, setup, Item(tokens - audio - answer, audio, answer=answer)).training_gib > gib


def longest_item(config: ThinkerConfig) -> Item:
    """Longest item that a config's media settings allow; items of a corpus of short clips are much shorter."""
    media = config.media
    frames = min(media.max_frames, 2 * -(-int(media.max_sec * media.frames_per_second) // 2))
    video = frames // 2 * (media.max_pixels // 28**2)  # frames in pairs, patches of 14 pixels merged two by two
    return Item(PROMPT_TOKENS, int(25 * media.max_sec), video, config.supervision.max_new_tokens)


def _language_kept(shape: Shape, setup: Setup, tokens: int) -> float:
    """Bytes per item saved by the language layers; with recompute, the inputs of all layers and the activations of one.

    A layer saves its norms' inputs in fp32 (2 D); queries, attention output, keys and values (2 D + 2 K); gate, its activation and up
    (3 I); the inputs of four LoRA projections (PEFT copies each to fp32 if the base is bf16) and their products (4 r, fp32); and in
    fp32 a log-sum for each head and a scale for each norm. Frozen projections save nothing. Training has no mask, see `model.inputs.collate`.
    """
    size = BYTES[setup.precision]
    attention = 2 * shape.width + 2 * shape.kv_width
    inputs = 16 if setup.precision == "bf16" else 4  # bytes; in fp32, q, k and v share one input, and o's is the attention output
    single = 4 * (2 * shape.width + shape.heads + 2 + 4 * setup.lora.rank)
    layer = size * (attention + 3 * shape.mlp) + inputs * shape.width + single
    return tokens * (shape.layers * size * shape.width + layer if setup.recompute else shape.layers * layer)


def _tower_kept(shape: Shape, setup: Setup, item: Item) -> float:
    """Bytes per item saved by the towers with LoRA; a tower without LoRA saves nothing.

    Audio: 6 d + F elements per layer and frame, two frames per token. Vision: 4 h + 3 I elements and 2 h in fp32, four patches per token.
    Both: LoRA's inputs and products as above; attention runs in chunks, so the output projection's input is a separate copy.
    """
    size, targets = BYTES[setup.precision], _targets(setup)
    inputs, single = (16 if setup.precision == "bf16" else 8), 16 * setup.lora.rank
    audio = size * (6 * shape.audio_width + shape.audio_mlp) + inputs * shape.audio_width + single
    vision = size * (4 * shape.vision_width + 3 * shape.vision_mlp) + (inputs + 8) * shape.vision_width + single
    kept = 0.0
    for layer, width, layers, steps in (
        (audio, shape.audio_width, shape.audio_layers, 2 * item.audio if AUDIO_ATTENTION in targets else 0),
        (vision, shape.vision_width, shape.vision_layers, 4 * item.video if VISION_ATTENTION in targets else 0),
    ):
        kept += steps * (layers * size * width + layer if setup.recompute else layers * layer)
    return kept


def _targets(setup: Setup) -> set[Target]:
    """Projections with LoRA. Raises ConfigError for other projections than attention, which the formulas do not cover."""
    targets = set(PLACEMENTS[setup.lora.placement])
    if not targets <= COUNTED:
        raise ConfigError(
            f"the memory estimate does not count lora.placement {setup.lora.placement!r}; extend omnimer_ray/machine/memory.py"
        )
    return targets


def _training_state(count: int, setup: Setup) -> float:
    """Bytes of the fp32 adapter and its optimizer state in DeepSpeed.

    ZeRO partitions its copy of the parameters and Adam's moments over the workers, stage 2 also the gradients, never the frozen weights.
    """
    gradients = 4 * count / (setup.workers if setup.zero_stage == 2 else 1)
    bucket = 4 * count  # the reduce bucket, sized in `training.loop.start_engine`
    return 4 * count + gradients + 12 * count / setup.workers + bucket
