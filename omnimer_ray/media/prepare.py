"""Decode and check every clip's media before any worker starts; all runs then use the cache."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from omnimer_ray.config import MediaConfig
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import CorpusError, MediaError

THUMBNAILS = 4  # frames of a strip
REPORT_EVERY_SEC = 10.0
MOST_LINES = 10  # about suspicious clips


class Seen(NamedTuple):
    """Lines about one clip's media."""

    faults: list[str]
    suspicious: list[str]
    video_tokens: int = 0


def prepare_media(clips: Sequence[Clip], media: MediaConfig, cache: Path, processes: int, log: Callable[[str], None]) -> int:
    """Fill the media cache, and log suspicious findings; returns the number of video tokens of all clips.

    Raises one CorpusError with the faults of all clips, one per line.
    """
    if not clips:
        return 0
    faults: list[str] = []
    suspicious: list[str] = []
    tokens = 0
    last = time.monotonic()
    # Spawned, not forked: the caller holds threads.
    with ProcessPoolExecutor(min(processes, len(clips)), mp_context=multiprocessing.get_context("spawn")) as pool:
        for done, seen in enumerate(pool.map(partial(_look, media=media, cache=cache), clips, chunksize=4), 1):
            faults.extend(seen.faults)
            suspicious.extend(seen.suspicious)
            tokens += seen.video_tokens
            if time.monotonic() - last > REPORT_EVERY_SEC:
                last = time.monotonic()
                log(f"media: {done} of {len(clips)} clips decoded and checked")
    for line in suspicious[:MOST_LINES]:
        log(f"suspicious: {line}")
    if len(suspicious) > MOST_LINES:
        log(f"suspicious: {len(suspicious) - MOST_LINES} more clips; python -m omnimer_ray.corpora check lists them")
    if faults:
        raise CorpusError(f"{len(faults)} of {len(clips)} clips cannot be used:\n" + "\n".join(faults))
    return tokens


def thumbnails(clip: Clip, media: MediaConfig, cache: Path) -> bytes:
    """One JPEG strip of a clip's frames, evenly spaced."""
    from PIL import Image

    from omnimer_ray.media.load import load_media

    frames = load_media(clip, media, cache).frames
    chosen = [frames[index * len(frames) // THUMBNAILS] for index in range(THUMBNAILS)]
    height = min(112, chosen[0].shape[0])
    tiles = [Image.fromarray(frame).resize((round(frame.shape[1] * height / frame.shape[0]), height)) for frame in chosen]
    strip = Image.new("RGB", (sum(tile.width for tile in tiles), height))
    for place, tile in enumerate(tiles):
        strip.paste(tile, (sum(other.width for other in tiles[:place]), 0))
    buffer = BytesIO()
    strip.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _look(clip: Clip, media: MediaConfig, cache: Path) -> Seen:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from omnimer_ray.media.lengths import Lengths, suspicious_lengths
    from omnimer_ray.media.load import load_media

    try:
        loaded = load_media(clip, media, cache)
    except MediaError as error:
        return Seen([str(error)], [])
    return Seen([], suspicious_lengths(clip.id, Lengths(loaded.video_sec, loaded.audio_sec)), loaded.num_video_tokens)
