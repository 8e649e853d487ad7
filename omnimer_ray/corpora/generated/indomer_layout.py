"""The annotations of a generated corpus in the layout of the IndoMER release."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from omnimer_ray.corpora.clips import SENTIMENT_OF
from omnimer_ray.corpora.generated.plan import PlannedClip
from omnimer_ray.corpora.indomer_join import COLUMNS, EMOTION_KEYS, EMOTION_WORDS, SAME, SENTIMENT_KEYS, SENTIMENT_WORDS


def write_annotations(clips: Sequence[PlannedClip], folder: Path) -> None:
    """Annotations.csv and the four split files, in the release's words and layout."""
    rows = [_row(clip) for clip in clips]
    with (folder / "Annotations.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    for kind, keys in (("3", SENTIMENT_KEYS), ("7", EMOTION_KEYS)):
        (folder / f"{kind}_Class").mkdir()
        for split, short in (("train", "train"), ("validation", "val")):
            entries = [_entry(row, kind, keys) for row, clip in zip(rows, clips, strict=True) if clip.split == split]
            path = folder / f"{kind}_Class" / f"{kind}_class_{short}.json"
            path.write_text(json.dumps(entries, indent=2, ensure_ascii=False), encoding="utf-8")


def _row(clip: PlannedClip) -> dict[str, str]:
    sentiment, emotion = ({label: word for word, label in words.items()} for words in (SENTIMENT_WORDS, EMOTION_WORDS))
    return {
        "video_name": f"{clip.id}.mp4",
        "audio_name": f"{clip.id}.wav",
        "emotion": emotion[clip.emotion],
        "sentiment": sentiment[SENTIMENT_OF[clip.emotion]],
        **{f"{modality}_sentiment": sentiment[label] for modality, label in clip.sentiments.items()},
        "text": clip.text,
    }


def _entry(row: dict[str, str], kind: str, keys: Sequence[str]) -> dict[str, str]:
    columns = {"text": "text", "video": "video_name", "audio": "audio_name", **SAME[kind]}
    return {key: row["video_name"].removesuffix(".mp4") if key == "sample_id" else row[columns[key]] for key in keys}
