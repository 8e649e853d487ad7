"""Clips whose pictures and sound do not belong together by their lengths, or that are too short to hold an emotion."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.config import MediaConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.media.load import probe

SHORTEST_SEC = 0.3
DIFFERENCE_SEC, DIFFERENCE = 1.0, 0.2  # seconds, and share of the longer track: the larger of the two is allowed
PROBED_SEC = 300.0  # of each file: more than a recipe reads, because the rest also shows mismatched files
REPORT_EVERY_SEC = 10.0


class Lengths(NamedTuple):
    """Seconds of a clip's two tracks."""

    video_sec: float
    audio_sec: float


class Probed(NamedTuple):
    """Lines about the media of many clips."""

    wrong: list[str]
    suspicious: list[str]


def suspicious_lengths(name: str, lengths: Lengths) -> list[str]:
    """Return a line for a clip whose tracks differ in length, and one for a clip that is shorter than SHORTEST_SEC."""
    shorter, longer = sorted(lengths)
    lines = []
    if longer - shorter > max(DIFFERENCE_SEC, DIFFERENCE * longer):
        lines.append(
            f"{name}: {lengths.video_sec:.1f} s of video and {lengths.audio_sec:.1f} s of sound; do the two files belong together?"
        )
    if shorter < SHORTEST_SEC:
        lines.append(f"{name}: {shorter:.2f} s of {'video' if lengths.video_sec == shorter else 'sound'}, less than {SHORTEST_SEC} s")
    return lines


def probe_clips(clips: Sequence[Clip], log: Callable[[str], None]) -> Probed:
    """Decode the files of all clips that have a video. Raises MissingExtraError without the packages that decode."""
    clips, probed, last = [clip for clip in clips if clip.video_path], Probed([], []), time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (clip, found) in enumerate(zip(clips, pool.map(_lengths, clips), strict=True), 1):
            if isinstance(found, str):
                probed.wrong.append(f"{clip.id}: {found}; fetch the file again, or list the clip under 'exclude'")
            else:
                probed.suspicious.extend(suspicious_lengths(clip.id, found))
            if time.monotonic() - last > REPORT_EVERY_SEC:
                last = time.monotonic()
                log(f"media: {done} of {len(clips)} clips decoded")
    return probed


def _lengths(clip: Clip) -> Lengths | str:
    """Return the lengths of the tracks that a run reads by default, or the faults of their files."""
    assert clip.video_path is not None
    media = MediaConfig(max_sec=PROBED_SEC)
    video = probe(clip.video_path, media)
    sound = video if clip.audio_path is None else probe(clip.audio_path, media)
    for report, seconds, track in ((video, video.video_sec, "video"), (sound, sound.audio_sec, "audio")):
        if not seconds:
            return f"{Path(report.path).name}: {report.error or f'no {track} track in it'}"
    return Lengths(video.video_sec, sound.audio_sec)
