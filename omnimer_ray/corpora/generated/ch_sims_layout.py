"""The annotations and media of a generated corpus in the layout of CH-SIMS v1."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from random import Random

from omnimer_ray.corpora.ch_sims import COLUMNS, MODES
from omnimer_ray.corpora.clips import SENTIMENT_OF
from omnimer_ray.corpora.generated.plan import PlannedClip

SIGNS = {"negative": -1, "neutral": 0, "positive": 1}


def name_of(clip: PlannedClip) -> str:
    """Source video and number, as ch_sims names the clip."""
    return f"{video_of(clip)}_{clip.number:04d}"


def video_of(clip: PlannedClip) -> str:
    """The source video's folder."""
    return f"video_{clip.video:04d}"


def write_annotations(clips: Sequence[PlannedClip], folder: Path) -> None:
    """label.csv, with scores in steps of .2."""
    with (folder / "label.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_row(clip) for clip in clips)


def place_media(clips: Sequence[PlannedClip], folder: Path) -> None:
    """Move the videos to Raw/<video>/<number>.mp4; the sound is their own track."""
    for clip in clips:
        place = folder / "Raw" / video_of(clip)
        place.mkdir(parents=True, exist_ok=True)
        (folder / "videos" / f"{clip.id}.mp4").rename(place / f"{clip.number:04d}.mp4")
        (folder / "audio" / f"{clip.id}.wav").unlink()
    (folder / "videos").rmdir()
    (folder / "audio").rmdir()


def _row(clip: PlannedClip) -> list[str]:
    random = Random(clip.id)
    sentiment = SENTIMENT_OF[clip.emotion]
    scores = [_score(label, random) for label in (sentiment, *(clip.sentiments[modality] for modality in ("text", "audio", "video")))]
    mode = next(mode for mode, split in MODES.items() if split == clip.split)
    return [video_of(clip), f"{clip.number:04d}", clip.text, *scores, sentiment.capitalize(), mode]


def _score(label: str, random: Random) -> str:
    return f"{SIGNS[label] * random.randint(1, 5) / 5:.1f}"
