"""Writers of results folders for the tests of the analysis: a small one whose numbers can be checked by hand, and realistic ones."""

import io
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from omnimer_ray.config import content_hash
from omnimer_ray.corpora.clips import EMOTIONS, SENTIMENT_OF, SENTIMENTS
from omnimer_ray.records import clips_schema, ledger_schema, predictions_schema, write_json, write_record, write_table

VARIANTS = ("Zero-shot", "Base", "Base + Text Aux", "Base + Visual Aux", "Base + Audio Aux", "All Aux (Multi-stage)", "All Aux (Hybrid)")
HTML_TRANSCRIPT = "<script>alert('transcript')</script> & | `x` \"quoted\""


def write_clips(folder: Path, clips: Iterable[dict[str, Any]]) -> None:
    rows = [{**dict.fromkeys(clips_schema()), "topic": "Daily", "text": f"teks {clip['clip']}", **clip} for clip in clips]
    write_table(folder / "clips.parquet", pl.DataFrame(rows, schema=clips_schema()))


def write_plan(folder: Path, variants: Iterable[str], tasks: Iterable[str], rows: list[dict[str, Any]], **corpus: Any) -> None:
    fields = {
        "name": "mini",
        "fingerprint": "c0ffee",
        "limit": None,
        "folds": None,
        "stand_in": None,
        "excluded": [],
        "warnings": [],
        **corpus,
    }
    base = {"name": "tiny", "revision": "beef", "stand_in": None}
    command = "python -m omnimer_ray.sweep ablations"
    plan = {"space": "ablations", "question": "Which auxiliary tasks help?", "corpus": fields, "base": base, "command": command}
    write_json(folder / "plan.json", {**plan, "variants": list(variants), "tasks": list(tasks), "rows": rows})


def write_run(
    folder: Path,
    row: dict[str, Any],
    answers: dict[str, tuple[str, str | None]],
    outcome: str = "done",
    polarities: dict[str, str | None] | None = None,
    texts: dict[str, str] | None = None,
    **record: Any,
) -> Path:
    """Write the record and the predictions of one run; `answers` maps each clip to (gold, prediction), the others to what its answer states and is."""
    run = folder / "runs" / row["signature"]
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / "config.json", {})
    if outcome == "done":
        common = {
            "evaluation_corpus": "mini",
            "instruction": row["task"],
            "gold_distribution": None,
            "probabilities": None,
        }
        lines = [
            {
                **common,
                "clip": clip,
                "gold": gold,
                "prediction": prediction,
                "predicted_sentiment": (polarities or {}).get(clip),
                "answer": (texts or {}).get(clip, str(prediction)),
            }
            for clip, (gold, prediction) in answers.items()
        ]
        write_table(run / "predictions.parquet", pl.DataFrame(lines, schema=predictions_schema()))
    fields = {
        "outcome": outcome,
        "reason": None,
        "method": "thinker",
        "stages": ["s0"],
        "num_steps": 12,
        "main_items": 96,
        "stand_in": None,
    }
    write_record(run, {**row, **fields, **record})
    return run


def row(variant: str, task: str, seed: int | None = 0, fold: int | None = None) -> dict[str, Any]:
    cell = {"variant": variant, "task": task, "seed": seed, "fold": fold}
    return {**cell, "signature": content_hash(cell)}


GOLD = {"v0": "negative", "v1": "negative", "v2": "neutral", "v3": "neutral", "v4": "neutral", "v5": "positive"}
BASE = {"v0": "negative", "v1": "neutral", "v2": "neutral", "v3": "neutral", "v4": "positive", "v5": None}
TEXT = {"v0": "negative", "v1": "negative", "v2": "neutral", "v3": "neutral", "v4": "neutral", "v5": None}


def realistic_clips() -> list[dict[str, Any]]:
    """Return clips with long-tailed emotions, conflicting modality labels and one transcript that contains HTML."""
    rng = random.Random(0)
    weights = (50, 15, 4, 12, 9, 6, 4)
    clips = []
    for split, num_videos, per_video in (("train", 32, 6), ("validation", 16, 6)):
        for index in range(num_videos * per_video):
            video = f"{split[:1]}{index // per_video:02d}"
            emotion = rng.choices(EMOTIONS, weights)[0]
            fused = SENTIMENT_OF[emotion]
            modality = {
                f"{name}_sentiment": fused if rng.random() < 0.65 else rng.choice(SENTIMENTS) for name in ("text", "video", "audio")
            }
            text = (
                HTML_TRANSCRIPT
                if split == "validation" and index == 0
                else rng.choice(["saya sangat senang hari ini", "ini biasa saja", "aku kecewa sekali dengan kamu"])
            )
            clip = {
                "clip": f"clip_{video}_Daily_{index}",
                "split": split,
                "source_video": video,
                "topic": "Daily",
                "text": text,
                **modality,
            }
            clips.append({**clip, "emotion": emotion, "sentiment": fused, "thumbnails": thumbnail(index) if index < 40 else None})
    return clips


def thumbnail(index: int) -> bytes:
    from PIL import Image, ImageDraw

    strip = Image.new("RGB", (4 * 56, 56), (40 + index * 3 % 120, 60, 90))
    for frame in range(4):
        ImageDraw.Draw(strip).ellipse((frame * 56 + 10, 8, frame * 56 + 46, 48), fill=(220, 190 - 10 * frame, 150))
    buffer = io.BytesIO()
    strip.save(buffer, "JPEG")
    return buffer.getvalue()


def answers(clips: list[dict[str, Any]], planned: dict[str, Any], folds: int | None) -> Iterable[tuple[str, tuple[str, str | None]]]:
    """Yield (clip, (gold, prediction)): accuracy rises with each variant and is lower on rare classes; a few zero-shot answers are unparsed."""
    rng = random.Random(planned["signature"])
    skill = 0.35 + 0.5 * VARIANTS.index(planned["variant"]) / len(VARIANTS)
    labels = SENTIMENTS if planned["task"] == "sentiment" else EMOTIONS
    for clip in clips:
        held_out = clip["split"] == "validation" if folds is None else int(clip["source_video"][1:]) % folds == planned["fold"]
        if held_out:
            gold = clip[planned["task"]]
            correct = rng.random() < skill + (0.2 if gold == "neutral" else -0.1)
            wrong = None if rng.random() < 0.1 and planned["seed"] is None else rng.choice(["neutral", "neutral", *labels])
            yield clip["clip"], (gold, gold if correct else wrong)


def ledger(clips: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    rng = random.Random(1)
    for clip in clips:
        for kind, modality in (("text_keywords", "text"), ("facial_expression", "video"), ("prosody", "audio")):
            if clip["split"] == "train":
                made = rng.choices(["agreed", "constrained", "rejected"], [60, 35, 5])[0]
                yield {
                    **dict.fromkeys(ledger_schema()),
                    "clip": clip["clip"],
                    "instruction": kind,
                    "gold": clip[f"{modality}_sentiment"],
                    "made": made,
                }
