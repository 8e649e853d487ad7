"""What arithmetic predicts for the operations of each arm, before anything runs: from the base's sizes and the lengths of the items."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from omnimer_ray.machine.flops import forward
from omnimer_ray.machine.memory import Item
from omnimer_ray.markdown import table
from omnimer_ray.model.dimensions import HUB_SHAPES, Shape
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import LedgerUnit, Run, Stage

PARTS = ("language", "audio", "vision", "head")
TEXT, ANSWER, SEC = 200, 32, 5.4  # tokens of a prompt and of an answer, length of a clip, of a main item of the 7B
VIDEO_TOKENS = (300, 640, 1260)  # of such a clip: a named change of the recipe, and the bounds of the recipe
WRITTEN = 24  # [A] tokens of a generated answer


class Passes(NamedTuple):
    """How often a part is computed for a trained item: forward, recomputed, backward. LoRA is in the language model and the audio tower."""

    language: int
    audio: int
    vision: int
    head_rows: str  # "answer" or "all"
    head: int = 2


ARMS = {
    "A": Passes(3, 3, 1, "all"),
    "B": Passes(2, 2, 1, "answer"),
    "C": Passes(2, 2, 0, "answer"),  # the tower's outputs are kept
}


def trained(shape: Shape, item: Item, passes: Passes) -> dict[str, float]:
    """Operations of one trained item, by part."""
    once = forward(shape, item)
    rows = item.total / item.answer if passes.head_rows == "all" else 1.0
    return {
        "language": passes.language * once["language"],
        "audio": passes.audio * once["audio"],
        "vision": passes.vision * once["vision"],
        "head": passes.head * once["head"] * rows,
    }


def of_a_main_item() -> str:
    """The table of a main item of the 7B, in 1e12 operations, for each arm and number of video tokens."""
    shape, rows = HUB_SHAPES["Qwen/Qwen2.5-Omni-7B"], []
    for video in VIDEO_TOKENS:
        item = Item(TEXT, int(25 * SEC), video, ANSWER)
        parts = {arm: trained(shape, item, passes) for arm, passes in ARMS.items()}
        ours = sum(parts["C"].values())
        for arm, values in parts.items():
            total = sum(values.values())
            rows.append((str(video), arm, *(f"{values[name] / 1e12:.2f}" for name in PARTS), f"{total / 1e12:.1f}", f"{total / ours:.2f}"))
    return table(("video tokens", "arm", *PARTS, "sum", "to C"), rows, numbers=True)


def operations(sweep: Sweep, ledgers: Path, encoder: Any) -> dict[str, float]:
    """Operations of each arm for the whole sweep, by the encoded items' lengths; `ledgers` must be complete."""
    shape = sweep.base.shape
    assert shape is not None
    runs = list(sweep.plan.runs.values())
    stages = {"A": [stage for run in runs for stage in run.stages], "C": list(sweep.plan.stages.values())}
    stages["B"] = stages["A"]
    totals = {}
    for arm, passes in ARMS.items():
        items = [item for stage in stages[arm] for item in _items(stage, sweep, ledgers, encoder)]
        total = sum(sum(trained(shape, item, passes).values()) for item in items)
        total += sum(_answered(shape, run, sweep, encoder, arm) for run in runs)
        total += sum(_supervised(shape, unit, sweep, encoder, arm) for unit in sweep.plan.units if isinstance(unit, LedgerUnit))
        if arm == "C":
            pictures = [encoder.media_tensors(clip).num_video_tokens for clip in sweep.corpus.clips]
            total += sum(forward(shape, Item(0, 0, tokens, 0))["vision"] for tokens in pictures)
        totals[arm] = total
    return totals


def _items(stage: Stage, sweep: Sweep, ledgers: Path, encoder: Any) -> list[Item]:
    """The items of a stage as often as they are trained on."""
    from omnimer_ray.planning.items import make_schedule

    clips, seen = {clip.id: clip for clip in sweep.corpus.clips}, list[Item]()
    for blocks in make_schedule(stage, sweep.corpus.clips, ledgers).from_step(0):
        for block in blocks:
            encoded = [encoder.encode(clips[item.clip], item.kind, item.answer, item.given) for item in block]
            longest = max(len(one.input_ids) for one in encoded)
            seen += [_measured(one, longest) for one in encoded]
    return seen


def _measured(encoded: Any, padded: int) -> Item:
    """The numbers of tokens of an encoded item, padding as text."""
    video = int(encoded.grid.prod()) // 4 if encoded.grid is not None else 0
    answer = max(1, len(encoded.input_ids) - encoded.answer_start)
    return Item(padded - video - encoded.num_audio_tokens - answer, encoded.num_audio_tokens, video, answer)


def _answered(shape: Shape, run: Run, sweep: Sweep, encoder: Any, arm: str) -> float:
    """Operations of the answers of a run."""
    from omnimer_ray.corpora.select import evaluated_split

    clips = [clip for clip in sweep.corpus.clips if clip.split == evaluated_split(run.config) and clip.label(run.config.task)]
    return sum(_read(shape, encoder.encode(clip, run.config.task), arm) for clip in clips)


def _supervised(shape: Shape, unit: LedgerUnit, sweep: Sweep, encoder: Any, arm: str) -> float:
    from omnimer_ray.planning.items import unit_clips
    from omnimer_ray.tasks.supervision import eligible

    clips = eligible(unit_clips(unit, sweep.corpus.clips), unit.part.kind)
    return sum(_read(shape, encoder.encode(clip, unit.part.kind), arm) for clip in clips)


def _read(shape: Shape, encoded: Any, arm: str) -> float:
    """A prompt is read and an answer is written."""
    parts = forward(shape, _measured(encoded, len(encoded.input_ids) + 1)._replace(answer=WRITTEN))
    return sum(value for name, value in parts.items() if name != "vision" or arm != "C")


def compared(predicted: dict[str, float], counts: dict[str, dict[str, float]]) -> str:
    """The prediction beside what was counted."""
    rows = [
        (arm, f"{value / 1e12:.3f}", f"{counts[arm]['operations'] / 1e12:.3f}", f"{value / counts[arm]['operations'] - 1:+.1%}")
        for arm, value in predicted.items()
    ]
    off = fmean(abs(value / counts[arm]["operations"] - 1) for arm, value in predicted.items())
    return (
        table(("arm", "predicted, 1e12 operations", "counted", "off by"), rows, numbers=True) + f"\n\nMean of what it is off by: {off:.1%}."
    )
