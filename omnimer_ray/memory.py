"""How much memory a worker needs, from the base's config.json alone; nothing is loaded.

D width, I width of the MLP, H heads, K width of keys and values, r rank, V vocabulary, L tokens; d, F and h the towers' widths.
What a layer keeps for its backward pass was counted on a CPU with the real classes (tests/test_memory.py counts it again);
no card has confirmed a total yet.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from omnimer_ray.config import LoraConfig, RunConfig
from omnimer_ray.errors import BaseModelError
from omnimer_ray.machine import MachineProfile
from omnimer_ray.results import read_json

GIB = 2**30
BYTES = {"fp32": 4, "bf16": 2}
TOWERS = {"thinker": 1, "thinker+audio": 2, "all": 3}  # of language, audio, vision: how many carry LoRA
RESERVE_GIB = 1.0  # the driver's context, NCCL, what the allocator cannot use; an assumption
PROMPT_TOKENS = 512  # a generous bound of an instruction with its transcript
REDUCE_BUCKET = 500_000_000  # elements; DeepSpeed's default reduce_bucket_size, allocated whole in every backward pass


class Shape(NamedTuple):
    """The sizes in a Thinker's config.json; the defaults are those of transformers' classes, which fill in what the file leaves out."""

    width: int = 3584
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    mlp: int = 18944
    vocabulary: int = 152064
    audio_width: int = 1280
    audio_layers: int = 32
    audio_mlp: int = 5120
    audio_mels: int = 128
    audio_out: int = 3584
    vision_width: int = 3584
    vision_layers: int = 32
    vision_mlp: int = 3420
    vision_out: int = 3584
    vision_patch: int = 3 * 2 * 14 * 14  # values of one patch
    tied: bool = False  # embedding and head are one

    @property
    def kv_width(self) -> int:
        """Of the keys, and of the values."""
        return self.kv_heads * (self.width // self.heads)


class Parameters(NamedTuple):
    """How many parameters each part of a Thinker has."""

    language: int
    embedding: int
    head: int
    audio: int
    vision: int


class Item(NamedTuple):
    """The tokens of one item."""

    text: int
    audio: int = 0
    video: int = 0
    answer: int = 128

    @property
    def total(self) -> int:
        """All that the language layers see."""
        return self.text + self.audio + self.video + self.answer


class Setup(NamedTuple):
    """What of a run and its machine decides about memory."""

    lora: LoraConfig = LoraConfig()
    precision: str = "bf16"
    workers: int = 1
    micro_batch: int = 1
    evaluation_batch: int = 1
    zero_stage: int = 2
    recompute: bool = True
    bucket: int = REDUCE_BUCKET  # 0 on a CPU: memory that is never touched is never taken there
    off_card: Collection[str] = ()  # parts of Parameters that lie elsewhere


class MemoryEstimate(NamedTuple):
    """GiB of one worker, part by part. Training and evaluation do not meet: a worker needs the larger of them."""

    weights: float
    training_state: float  # LoRA with gradients, Adam's moments and DeepSpeed's buffers
    kept: float  # activations that wait for their backward pass
    working: float  # beside them, at the worst moment
    decoding: float  # logits and cache of the evaluation's prompts
    reserve: float

    @property
    def training_gib(self) -> float:
        """While a step runs."""
        return self.weights + self.training_state + self.kept + self.working + self.reserve

    @property
    def evaluation_gib(self) -> float:
        """While answers are decoded; the optimizer is gone by then."""
        return self.weights + self.decoding + self.reserve

    @property
    def total_gib(self) -> float:
        """What the worker must have."""
        return max(self.training_gib, self.evaluation_gib)


def read_shape(folder: Path) -> Shape:
    """From a checkpoint's config.json, the whole Omni model's or the Thinker's alone. Raises BaseModelError."""
    config = read_json(folder / "config.json")
    config = config.get("thinker_config", config) if isinstance(config, dict) else {}
    try:
        return _shape(config["text_config"], config["audio_config"], config["vision_config"], config)
    except (KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"{folder / 'config.json'} does not describe a Thinker ({error!r}); download the checkpoint again") from None


def _shape(text: dict[str, Any], audio: dict[str, Any], vision: dict[str, Any], whole: dict[str, Any]) -> Shape:
    given = {
        "width": text.get("hidden_size"),
        "layers": text.get("num_hidden_layers"),
        "heads": text.get("num_attention_heads"),
        "kv_heads": text.get("num_key_value_heads"),
        "mlp": text.get("intermediate_size"),
        "vocabulary": text.get("vocab_size"),
        "audio_width": audio.get("d_model"),
        "audio_layers": audio.get("encoder_layers"),
        "audio_mlp": audio.get("encoder_ffn_dim"),
        "audio_mels": audio.get("num_mel_bins"),
        "audio_out": audio.get("output_dim"),
        "vision_width": vision.get("hidden_size"),
        "vision_layers": vision.get("depth"),
        "vision_mlp": vision.get("intermediate_size"),
        "vision_out": vision.get("out_hidden_size"),
        "tied": whole.get("tie_word_embeddings"),
    }
    return Shape(**{name: value for name, value in given.items() if value is not None})


def parameters(shape: Shape) -> Parameters:
    """Exact counts, by the layers of transformers' modeling_qwen2_5_omni.py; biases stand where they do there."""
    width, mlp, kv = shape.width, shape.mlp, shape.kv_width
    layer = 2 * width * width + width + 2 * (width * kv + kv) + 3 * width * mlp + 2 * width
    d, ffn = shape.audio_width, shape.audio_mlp
    audio_layer = 4 * d * d + 3 * d + 2 * d * ffn + ffn + d + 4 * d
    stem = 3 * d * shape.audio_mels + d + 3 * d * d + d
    h, inner, merged = shape.vision_width, shape.vision_mlp, 4 * shape.vision_width
    block = 4 * h * h + 4 * h + 3 * h * inner + 2 * inner + h + 2 * h
    merger = h + merged * merged + merged + merged * shape.vision_out + shape.vision_out
    table = shape.vocabulary * width
    return Parameters(
        language=shape.layers * layer + width,
        embedding=table,
        head=0 if shape.tied else table,
        audio=shape.audio_layers * audio_layer + stem + 2 * shape.audio_out + 2 * d + d * shape.audio_out + shape.audio_out,
        vision=shape.vision_layers * block + shape.vision_patch * h + merger,
    )


def lora_parameters(shape: Shape, lora: LoraConfig) -> int:
    """Trainable parameters: rank x (inputs + outputs) of the four attention projections of each tower that carries LoRA."""
    towers = (
        shape.layers * (4 * shape.width + 2 * (shape.width + shape.kv_width)),
        shape.audio_layers * 8 * shape.audio_width,
        shape.vision_layers * 8 * shape.vision_width,
    )
    return lora.rank * sum(towers[: TOWERS[lora.placement]])


def estimate(shape: Shape, setup: Setup, item: Item) -> MemoryEstimate:
    """What a worker needs for micro-batches of the longest item; padding counts as tokens."""
    size, batch = BYTES[setup.precision], setup.micro_batch
    counted = {name: count for name, count in parameters(shape)._asdict().items() if name not in setup.off_card}
    kept = _language_kept(shape, setup, item.total) + _tower_kept(shape, setup, item)
    # Backward through an MLP holds the gradients of its three products beside what was kept, and five widths around it
    # (counted: 6 I + 5 D bytes a token in bf16). The logits' turn is over by then; they hold three fp32 copies of (A, V).
    around = size * (3 * shape.mlp + 2.5 * shape.width) * item.total
    logits = 12 * shape.vocabulary * item.answer
    # generate() projects every position of the prompts to the vocabulary, and the cache keeps keys and values.
    prompt = size * (shape.vocabulary + 2 * shape.kv_width * shape.layers) * item.total
    return MemoryEstimate(
        weights=size * sum(counted.values()) / GIB,
        training_state=_training_state(lora_parameters(shape, setup.lora), setup) / GIB,
        kept=batch * kept / GIB,
        working=batch * max(around, logits) / GIB,
        decoding=setup.evaluation_batch * prompt / GIB,
        reserve=RESERVE_GIB,
    )


def max_tokens(card_gib: float, shape: Shape, setup: Setup, answer: int = 0, audio: int = 0) -> int:
    """The longest item, in tokens, whose training step fits; `answer` and `audio` of them are what they say, the rest is any other. 0: none."""

    def needs(tokens: int) -> float:
        return estimate(shape, setup, Item(tokens - answer - audio, audio=audio, answer=answer)).training_gib

    return max(0, bisect.bisect_right(range(1 << 20), card_gib, key=needs) - 1)


def setup_of(profile: MachineProfile, config: RunConfig) -> Setup:
    """As a profile runs a config."""
    return Setup(
        lora=config.lora,
        precision=config.base.precision,
        workers=max(1, profile.workers_per_run),
        micro_batch=profile.micro_batch,
        evaluation_batch=profile.evaluation_batch,
        zero_stage=profile.zero_stage,
        recompute=profile.recompute,
        bucket=REDUCE_BUCKET if profile.gpus_per_worker else 0,
    )


def longest_item(config: RunConfig) -> Item:
    """The longest item that a config's media settings allow; a corpus of short clips stays far below."""
    media = config.media
    frames = min(media.max_frames, 2 * -(-int(media.max_sec * media.frames_per_second) // 2))
    video = frames // 2 * (media.max_pixels // 28**2)  # frames in pairs, patches of 14 pixels merged two by two
    return Item(PROMPT_TOKENS, int(25 * media.max_sec), video, config.supervision.max_new_tokens)


def _language_kept(shape: Shape, setup: Setup, tokens: int) -> float:
    """Bytes of one item that the language layers keep; with recompute their inputs, and one layer whole.

    A layer keeps, in elements of its precision: the norms' inputs in fp32 (2 D floats), the attention's input, queries and output
    (3 D), keys and values (2 K), gate, its activation and up (3 I), the four LoRA products (4 r); in fp32 a log-sum for each
    head and a scale for each norm. Frozen projections keep nothing. Where items are padded a mask is kept, and keys and values
    are repeated for all heads.
    """
    size = BYTES[setup.precision]
    padded = setup.micro_batch > 1
    attention = 3 * shape.width + (2 * shape.width + tokens if padded else 2 * shape.kv_width) + 4 * setup.lora.rank
    layer = size * (attention + 3 * shape.mlp) + 4 * (2 * shape.width + shape.heads + 2)
    return tokens * (shape.layers * size * shape.width + layer if setup.recompute else shape.layers * layer)


def _tower_kept(shape: Shape, setup: Setup, item: Item) -> float:
    """Bytes of one item that the towers with LoRA keep; a tower without is run without a trace.

    Audio: 8 d + F elements a layer and frame, two frames a token. Vision: 6 h + 3 I and the norms in fp32, four patches a token.
    """
    size, towers, rank = BYTES[setup.precision], TOWERS[setup.lora.placement], 4 * setup.lora.rank
    audio = size * (8 * shape.audio_width + shape.audio_mlp + rank)
    vision = size * (6 * shape.vision_width + 3 * shape.vision_mlp + rank) + 8 * shape.vision_width
    kept = 0.0
    for layer, width, layers, steps in (
        (audio, shape.audio_width, shape.audio_layers, 2 * item.audio if towers > 1 else 0),
        (vision, shape.vision_width, shape.vision_layers, 4 * item.video if towers > 2 else 0),
    ):
        kept += steps * (layers * size * width + layer if setup.recompute else layers * layer)
    return kept


def _training_state(count: int, setup: Setup) -> float:
    """Bytes of LoRA and its optimizer. ZeRO shares Adam's moments and the fp32 copy out among workers, stage 2 the gradients too; never the frozen weights."""
    size = BYTES[setup.precision]
    gradients = 4 * count / (setup.workers if setup.zero_stage == 2 else 1)
    return 2 * size * count + gradients + 12 * count / setup.workers + size * setup.bucket
