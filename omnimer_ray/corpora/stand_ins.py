"""Stand-in media for a release that has none: the real transcript spoken with the prosody of the clip's audio label, and a drawn
face with the expression of its video label. Their notice is printed with all numbers.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from omnimer_ray.corpora import indomer
from omnimer_ray.corpora.assembly import STAND_IN_FILE, Reading
from omnimer_ray.corpora.clips import EMOTIONS, SENTIMENT_OF, Clip
from omnimer_ray.corpora.generated import faces
from omnimer_ray.corpora.generated.mini import VOICES
from omnimer_ray.corpora.generated.rendering import Limits, Performance, Person, render_all
from omnimer_ray.corpora.select import limited
from omnimer_ray.errors import ConfigError

MAKER_VERSION = 1  # raise it when code changes what is made
STAND_IN = "the real transcripts in synthesised speech, and drawn faces, made from the clips' audio and video labels"
MIN_SEC = 1.0
MAX_SEC = 6.0  # the release's clips have 5.4 s on average; longer speech is spoken up to twice as fast, then cut


def make(
    folder: Path,
    out: Path,
    *,
    cache: Path,
    limit: int | None = None,
    max_sec: float = MAX_SEC,
    workers: int | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> int:
    """Make a release in `out` with the annotations of `folder` and generated media; return the number of its clips.

    `limit` keeps that many clips with the shares of splits and emotions. Raises ConfigError if `out` exists.
    """
    if out.exists():
        raise ConfigError(f"{out} exists; stand-ins are made in a new folder: name another, or remove it")
    if max_sec < MIN_SEC:
        raise ConfigError(f"max_sec {max_sec} must be {MIN_SEC} or more")
    corpus = indomer.read(folder, Reading(cache=cache, need_media=False))
    whole = len(corpus.clips)
    corpus = limited(corpus, limit) if limit is not None else corpus
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as place:
        building = Path(place) / "corpus"
        render_all(_performances(corpus.clips), building, Limits(MIN_SEC, max_sec), workers or os.cpu_count() or 1, progress)
        copy_annotations(folder, building, {clip.id for clip in corpus.clips})
        marker = {
            "stand_in": STAND_IN,
            "maker_version": MAKER_VERSION,
            "of": corpus.fingerprint,
            "clips": len(corpus.clips),
            "of_clips": whole,
        }
        (building / STAND_IN_FILE).write_text(json.dumps({**marker, "max_sec": max_sec}, indent=2) + "\n", encoding="utf-8")
        building.rename(out)
    return len(corpus.clips)


def copy_annotations(folder: Path, out: Path, kept: set[str]) -> None:
    """Copy the annotation files with only the rows and entries of `kept`, otherwise unchanged."""
    text = (folder / "Annotations.csv").read_text(encoding="utf-8-sig")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    column = header.index("video_name")
    with (out / "Annotations.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerows([header, *(row for row in rows if row and Path(row[column]).stem in kept)])
    for path in sorted(folder.glob("[37]_[Cc]lass/[37]_class_*.json")):
        entries = [entry for entry in json.loads(path.read_text(encoding="utf-8-sig")) if entry["sample_id"] in kept]
        copy = out / path.relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(json.dumps(entries, indent=2, ensure_ascii=False), encoding="utf-8")


def _performances(clips: Sequence[Clip]) -> list[Performance]:
    counts = Counter(str(clip.emotion) for clip in clips)
    people = {video: _person(video) for video in {clip.source_video for clip in clips}}
    return [
        Performance(
            clip.id, people[clip.source_video], clip.text, _emotion(clip, "audio", counts), _emotion(clip, "video", counts), "stand-in"
        )
        for clip in clips
    ]


def _person(video: str) -> Person:
    """One face and one voice for all clips of a source video, of the mini corpus's identities, which are absent from the tiny base's pre-training."""
    random = Random(f"stand-in/person {video}")
    return Person(faces.look(random, "mini"), random.choice(VOICES["mini"]), random.uniform(-6, 6))


def _emotion(clip: Clip, modality: str, counts: Counter[str]) -> str:
    """An emotion of the modality's sentiment: the fused emotion if it has this sentiment, else one drawn by its frequency in the corpus."""
    sentiment = clip.modality_sentiment(modality)
    if SENTIMENT_OF.get(str(clip.emotion)) == sentiment:
        return str(clip.emotion)
    options = [name for name in EMOTIONS if SENTIMENT_OF[name] == sentiment]
    return Random(f"stand-in/{clip.id}/{modality}").choices(options, [counts[name] + 1 for name in options])[0]
