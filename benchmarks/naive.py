"""A sweep as a user of a common trainer runs it: one process a trial, which trains all its stages and answers one clip at a time.

It takes the same items in the same steps as ours, from the same plan; only the ways of computing differ.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
import torch.nn.functional as F

from omnimer_ray.config import of_thinker
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.select import evaluated_split
from omnimer_ray.execution.handout import read_manifest
from omnimer_ray.features.vision_outputs import VisionOutputs, use
from omnimer_ray.media.decode import SAMPLE_RATE_HZ
from omnimer_ray.media.load import HOP, ClipMedia, _ask, _extractor, load_wave
from omnimer_ray.model.bases import Base
from omnimer_ray.model.generation import generate
from omnimer_ray.model.inputs import IGNORED, Encoded, Encoder, MediaTensors, collate, labels
from omnimer_ray.model.lora import place_lora, trainable
from omnimer_ray.model.thinker import load_thinker
from omnimer_ray.planning.items import make_schedule
from omnimer_ray.planning.setup import Sweep
from omnimer_ray.planning.units import LedgerPart, Run
from omnimer_ray.tasks.instructions import Style, parse
from omnimer_ray.tasks.supervision import build, eligible
from omnimer_ray.training.evaluation import auxiliary_answerer
from omnimer_ray.training.loop import AnswerLoss, learning_rate
from omnimer_ray.training.schedule import micro_batches


class Ways(NamedTuple):
    """What a trial does not spare itself."""

    on_the_fly: bool  # media are decoded and processed for every item, mel features padded to 300 s
    full_logits: bool  # every position is projected onto the vocabulary
    recompute: bool  # every layer's forward pass is done twice
    mask: bool = True  # padding is masked
    keeps_outputs: bool = False  # of the vision tower, as ours; in the gate only


class Task(NamedTuple):
    """One process: a trial, or the supervision of one instruction."""

    work: Run | LedgerPart
    base: Base
    manifest: Path
    ledgers: Path
    cache: Path
    out: Path
    ways: Ways
    micro_batch: int


class OnTheFly(Encoder):
    """Decodes a clip's files whenever one of its items is encoded."""

    def media_tensors(self, clip: Clip) -> MediaTensors:
        """The clip's media, from its files."""
        assert clip.video_path is not None
        sound = clip.audio_path or clip.video_path
        pictures = _ask("video", clip.video_path, self.media)
        frames = torch.stack([torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(shape) for shape, data in pictures.arrays])
        wave, ends = load_wave(sound, self.media)
        mel = padded_mel(wave)
        media = ClipMedia(frames.numpy(), pictures.done["sampled_fps"], mel, pictures.done["seconds"], ends["seconds"], False)
        return self._tensors(clip, media)


def padded_mel(wave: Any) -> Any:
    """Log-mel features as the processor makes them, padded to 300 s, then cut by their mask as the model does."""
    made = _extractor()(
        wave, sampling_rate=SAMPLE_RATE_HZ, padding="max_length", truncation=False, return_attention_mask=True, return_tensors="np"
    )
    kept = int(made["attention_mask"][0].sum())
    assert kept == -(-len(wave) // HOP), (kept, len(wave))
    return made["input_features"][0, :, :kept].copy()


def masked(inputs: dict[str, Any], encoded: Sequence[Encoded]) -> dict[str, Any]:
    """The inputs with a mask over their padding, as processors make it."""
    length = inputs["input_ids"].shape[1]
    return {**inputs, "attention_mask": torch.stack([(torch.arange(length) < len(item.input_ids)).long() for item in encoded])}


class FullLogits(AnswerLoss):
    """The same loss from the logits of every position."""

    def forward(self, inputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """(B,) summed loss of each item."""
        logits = self.model(**inputs, use_cache=False).logits.float()  # (B, L, V)
        losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), targets[:, 1:], ignore_index=IGNORED, reduction="none")
        return losses.sum(1)


class Seconds:
    """Seconds of this process, by what it did; `media` includes those of the child process that decodes."""

    def __init__(self) -> None:
        self.of = dict.fromkeys(("start", "media", "training", "evaluation", "supervision"), 0.0)
        self.at = 0.0  # process_time() counts from the start of the process
        self.inside = 0.0  # of media since the last entry

    def add(self, name: str) -> None:
        """What was done since the last entry."""
        now = time.process_time()
        self.of[name] += now - self.at - self.inside
        self.of["media"] += self.inside
        self.at, self.inside = now, 0.0

    def watch(self, encoder: Encoder) -> None:
        """Count what an encoder spends on media."""
        make = encoder.media_tensors

        def timed(clip: Clip) -> MediaTensors:
            began = time.process_time()
            found = make(clip)
            self.inside += time.process_time() - began
            return found

        encoder.media_tensors = timed  # type: ignore[method-assign]

    def all(self) -> dict[str, float]:
        """The seconds, children's included."""
        children = (child.cpu_times() for child in psutil.Process().children(recursive=True))
        return {**self.of, "media": self.of["media"] + sum(times.user + times.system for times in children)}


def execute_alone(task: Task, name: str) -> None:
    """What a process of its own does: its output and its seconds are written to `task.out`."""
    with (task.out / f"{name}.txt").open("w") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
        seconds = execute(task)
    (task.out / f"{name}.sec.json").write_text(json.dumps(seconds), encoding="utf-8")


def execute(task: Task) -> dict[str, float]:
    """Do a process's work; what it found is written to `task.out`. Returns its seconds by what it did."""
    torch.set_num_threads(1)
    seconds = Seconds()
    config = of_thinker(task.work.config)
    thinker = load_thinker(task.base, config.base.precision)
    encoder = _encoder(thinker, config, task.cache, task.ways)
    seconds.watch(encoder)
    clips = read_manifest(task.manifest, config)
    seconds.add("start")
    if isinstance(task.work, LedgerPart):
        part, file = task.work, task.ledgers / task.work.key / f"{task.work.kind}.0.0.jsonl"
        answer = auxiliary_answerer(thinker, encoder, part.kind, part.config.supervision)
        build(answer, eligible(clips, part.kind), part.kind, part.config, 1, file, lambda *done: None)
        seconds.add("supervision")
        return seconds.all()
    run, losses = task.work, list[float]()
    model = place_lora(thinker.model, config.lora, config.seed)[0]
    thinker = thinker._replace(model=model)
    for stage in run.stages:
        losses += _train(thinker, encoder, make_schedule(stage, clips, task.ledgers), stage.config, clips, task.ways, task.micro_batch)
    seconds.add("training")
    model.eval()
    found = {"losses": losses, "answers": _answers(thinker, encoder, run, clips)}
    (task.out / f"{run.signature}.json").write_text(json.dumps(found), encoding="utf-8")
    seconds.add("evaluation")
    return seconds.all()


def changed_by(sweep: Sweep, run: Run, ledgers: Path, cache: Path, ways: Ways, steps: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """What the first steps of a run's last stage change in a fresh adapter."""
    thinker, config = load_thinker(sweep.base, "fp32"), of_thinker(run.config)
    thinker.model.to(dtype)
    encoder = _encoder(thinker, config, cache, ways)
    if ways.keeps_outputs:
        outputs = VisionOutputs(cache / "features", config, cache)
        outputs.fill_from(thinker, encoder, sweep.corpus.clips, lambda done, total: None)
        use(outputs, thinker, encoder)
    model = place_lora(thinker.model, config.lora, config.seed)[0].to(dtype)
    before = {name: tensor.detach().clone() for name, tensor in trainable(model).items()}
    schedule = make_schedule(run.stages[-1], sweep.corpus.clips, ledgers)
    _train(thinker._replace(model=model), encoder, replace(schedule, steps=steps), run.config, list(sweep.corpus.clips), ways, 8)
    return {name: tensor.detach() - before[name] for name, tensor in trainable(model).items()}


def _encoder(thinker: Any, config: Any, cache: Path, ways: Ways) -> Encoder:
    return (OnTheFly if ways.on_the_fly else Encoder)(thinker.processor, config, cache)


def _train(thinker: Any, encoder: Encoder, schedule: Any, config: Any, clips: list[Clip], ways: Ways, micro_batch: int) -> list[float]:
    """One stage with torch's own AdamW."""
    if ways.recompute:
        thinker.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    settings, model, by_id, losses = config.optimizer, thinker.model.train(), {clip.id: clip for clip in clips}, []
    loss_of = (FullLogits if ways.full_logits else AnswerLoss)(model)
    parameters = list(trainable(model).values())
    betas = (settings.beta1, settings.beta2)
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.learning_rate, betas=betas, eps=settings.epsilon, weight_decay=settings.weight_decay
    )
    for step, blocks in enumerate(schedule.from_step(0)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step, schedule.num_steps)
        total, summed = sum(item.weight for block in blocks for item in block), 0.0
        for block in blocks:
            for items in micro_batches(block, micro_batch, 0, 1):
                encoded = [encoder.encode(by_id[item.clip], item.kind, item.answer, item.given) for item in items]
                targets = labels(encoded)
                inputs = collate(encoded, encoder.tokenizer.pad_token_id, "right")
                found = loss_of(masked(inputs, encoded) if ways.mask else inputs, targets)
                weights = torch.tensor([item.weight for item in items])
                loss = (found * weights / (targets != IGNORED).sum(1)).sum() / total
                loss.backward()
                summed += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(summed)
    return losses


def _answers(thinker: Any, encoder: Encoder, run: Run, clips: list[Clip]) -> dict[str, str | None]:
    """The label that is read from each generated answer, one clip at a time."""
    config = of_thinker(run.config)
    style = Style.of(config)
    found: dict[str, str | None] = {}
    for clip in clips:
        if clip.split == evaluated_split(config) and clip.label(config.task) is not None:
            (text,) = generate(thinker, encoder, [encoder.encode(clip, config.task)], config.evaluation.max_new_tokens)
            parsed = parse(text, config.task, style)
            found[clip.id] = parsed.label(config.task) if parsed else None
    return found
