"""A person's own media files as clips: each with the modalities that are there."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.config import EVERY_MODALITY, MediaConfig, Modality
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.files import AUDIO, VIDEO
from omnimer_ray.errors import ConfigError
from omnimer_ray.media.load import probe


class OwnClip(NamedTuple):
    """A file, and what a model can be shown of it."""

    clip: Clip
    seen: tuple[Modality, ...]  # empty if nothing of it can be used
    fault: str  # why a track cannot be used; empty if there is nothing to say


def find(path: Path, transcripts: Path | None, media: MediaConfig) -> list[OwnClip]:
    """The clips of a folder, or of one file, by name. An audio file beside a video of the same name is that video's sound.

    A transcript is NAME.txt beside the file, or a row of a CSV with the columns clip and text. Raises ConfigError without any media file.
    """
    if not path.exists():
        raise ConfigError(f"{path} does not exist; give a folder of video and audio files, or one file")
    texts = _read_transcripts(transcripts) if transcripts else {}
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    videos = {file.stem: file for file in files if file.suffix.lower() in VIDEO}
    sounds = {file.stem: file for file in files if file.suffix.lower() in AUDIO}
    if not videos and not sounds:
        raise ConfigError(f"{path} has no media file; known endings: {', '.join(VIDEO + AUDIO)}")
    if unknown := sorted(set(texts) - set(videos) - set(sounds)):
        raise ConfigError(
            f"{transcripts} has a transcript of {unknown[0]!r}, and {path} has no such clip; a clip is a file's name without its ending"
        )
    return [_clip(name, videos.get(name), sounds.get(name), texts.get(name), media) for name in sorted({*videos, *sounds})]


def _clip(name: str, video: Path | None, sound: Path | None, text: str | None, media: MediaConfig) -> OwnClip:
    first = video or sound
    assert first is not None
    beside = first.with_suffix(".txt")
    if text is None and beside.is_file():
        text = beside.read_text(encoding="utf-8", errors="replace")
    reports = {path: probe(path, media) for path in (video, sound) if path is not None}
    tracks = [
        *(["video"] if video is not None and reports[video].video_sec else []),
        *(["audio"] if reports[sound or first].audio_sec else []),
    ]
    words = " ".join((text or "").split())
    clip = Clip(name, name, "", "validation", words, None, None, None, None, None, video or sound, sound, tracks=tuple(tracks))
    there = {"text": bool(words), "video": "video" in tracks, "audio": "audio" in tracks}
    seen = [modality for modality in EVERY_MODALITY if there[modality]]
    return OwnClip(clip, tuple(seen), "; ".join(f"{path.name}: {report.error}" for path, report in reports.items() if report.error))


def _read_transcripts(path: Path) -> dict[str, str]:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as a CSV file in UTF-8 ({error})") from None
    if rows and not {"clip", "text"} <= set(rows[0]):
        raise ConfigError(f"{path} needs the columns clip and text; it has {', '.join(map(str, rows[0]))}")
    texts: dict[str, str] = {}
    for row in rows:
        name = str(row["clip"]).strip()
        if name in texts:
            raise ConfigError(f"{path} has two transcripts of {name!r}; leave one")
        texts[name] = str(row["text"] or "")
    return texts
