"""Evaluation: generate and parse one answer per clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from omnimer_ray.config import RunConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.model.generation import generate, in_batches
from omnimer_ray.model.inputs import Encoder
from omnimer_ray.model.thinker import Thinker
from omnimer_ray.tasks.instructions import Style, parse


def evaluate(
    thinker: Thinker, encoder: Encoder, clips: Sequence[Clip], config: RunConfig, batch: int, report: Callable[[int, int], None]
) -> list[dict[str, Any]]:
    """Rows of predictions.parquet for the clips that have the task's label, in the order of `clips`."""
    style = Style.of(config)
    labelled = [clip for clip in clips if clip.label(config.task) is not None]
    rows: list[dict[str, Any]] = []
    for part in in_batches(labelled, batch):
        answers = generate(thinker, encoder, [encoder.encode(clip, config.task) for clip in part], config.evaluation.max_new_tokens)
        rows += [_row(clip, answer, config, style) for clip, answer in zip(part, answers, strict=True)]
        report(len(rows), len(labelled))
    return rows


def _row(clip: Clip, answer: str, config: RunConfig, style: Style) -> dict[str, Any]:
    parsed = parse(answer, config.task, style)
    return {
        "evaluation_corpus": config.corpus.name,
        "clip": clip.id,
        "instruction": config.task,
        "gold": clip.label(config.task),
        "gold_distribution": None,
        "prediction": parsed.label(config.task) if parsed else None,
        "predicted_sentiment": parsed.sentiment if parsed else None,
        "probabilities": None,
        "answer": answer,
    }
