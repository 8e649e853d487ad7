"""Floating-point operations of a run, by arithmetic from the base's sizes; no time that follows from them has been measured.

A product of (m, k) and (k, n) is 2 m k n operations. Norms, activations and positions are left out.
"""

from __future__ import annotations

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.machine.memory import Item
from omnimer_ray.model.dimensions import AUDIO_ATTENTION, PLACEMENTS, VISION_ATTENTION, Shape, parameters

ASSUMED_SEC = 5.0  # [A] length of a clip where lengths are not known yet
ASSUMED_TEXT = 200  # [A] tokens of an instruction with its transcript
ASSUMED_SHARE = 0.3  # [A] of a card's peak that training reaches


def typical_item(config: ThinkerConfig, sec: float = ASSUMED_SEC) -> Item:
    """A main item of a clip of this length, with the smallest frames that the media settings allow."""
    media = config.media
    sec = min(sec, media.max_sec)
    frames = min(media.max_frames, max(media.min_frames, 2 * -(-int(sec * media.frames_per_second) // 2)))
    return Item(ASSUMED_TEXT, int(25 * sec), frames // 2 * (media.min_pixels // 28**2), config.evaluation.max_new_tokens // 3)


def forward(shape: Shape, item: Item) -> dict[str, float]:
    """Operations of a forward pass over one item, by part: language, audio, vision, head (of the answer's tokens)."""
    counts = parameters(shape)
    audio_frames, patches = 2 * item.audio, 4 * item.video
    return {
        "language": 2.0 * counts.language * item.total + 4.0 * shape.layers * shape.width * item.total**2,
        "audio": 2.0 * counts.audio * audio_frames,
        "vision": 2.0 * counts.vision * patches,
        "head": 2.0 * shape.vocabulary * shape.width * item.answer,
    }


def trained_item(shape: Shape, config: ThinkerConfig, item: Item, recompute: bool, keeps_outputs: bool = False) -> float:
    """Operations of one item in training: frozen weights need no gradient, so a backward pass costs as much as a forward pass.

    A tower without LoRA has no backward pass, and the vision tower's outputs may be kept; with recompute every other part has a second
    forward pass.
    """
    targets, parts = PLACEMENTS[config.lora.placement], forward(shape, item)
    times = 3 if recompute else 2
    passes = {
        "language": times,
        "head": 2,
        "audio": times if AUDIO_ATTENTION in targets else 1,
        "vision": times if VISION_ATTENTION in targets else not keeps_outputs,
    }
    return sum(passes[name] * value for name, value in parts.items())


def answered_item(shape: Shape, item: Item) -> float:
    """Operations of reading a prompt and writing its answer, the key-value cache used."""
    return sum(forward(shape, item).values())
