"""A clip's file -> frames and sound for the model, checked, and cached by content for all runs.

T frames, H and W their height and width, M mel frames of 10 ms. Files are found by content, decoded in a child process.

Run:  python -m omnimer_ray.media FILE...        # frames, rate, seconds of sound, tokens, or what is wrong
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnimer_ray import media_child
from omnimer_ray.config import MediaConfig, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.errors import MediaError
from omnimer_ray.media_container import FETCH, Fault
from omnimer_ray.media_decode import SAMPLE_RATE_HZ

MEDIA_VERSION = 1  # raise it when code changes what the same file and settings give
MIN_MEL_FRAMES = 3  # fewer give no audio token


def _num_video_tokens(frames: int, height: int, width: int) -> int:
    """Frames in pairs, patches of 14 pixels merged two by two."""
    return frames // 2 * (height // 28) * (width // 28)


def _num_audio_tokens(mel_frames: int) -> int:
    """Two halvings of the mel frames: 25 tokens a second (transformers, _get_feat_extract_output_lengths)."""
    return max(0, ((mel_frames - 1) // 2 - 1) // 2 + 1)


class ClipMedia(NamedTuple):
    """What the model gets of one clip."""

    frames: NDArray[np.uint8]  # (T, H, W, 3), T even, H and W multiples of 28
    sampled_fps: float  # frames per second of those frames: T over the seconds that they span
    mel: NDArray[np.float32]  # (128, M) log-mel, cut to the clip
    video_sec: float
    audio_sec: float
    cut: bool  # the file goes on behind media.max_sec

    @property
    def num_video_tokens(self) -> int:
        """Placeholders that the video takes in the prompt."""
        return _num_video_tokens(*self.frames.shape[:3])

    @property
    def num_audio_tokens(self) -> int:
        """Placeholders that the sound takes in the prompt."""
        return _num_audio_tokens(self.mel.shape[1])


class MediaReport(NamedTuple):
    """What `probe` found in a file; a field of a track that is absent keeps its default."""

    path: Path
    container: str = ""
    video_codec: str = ""
    width: int = 0  # as stored, before rotation
    height: int = 0
    rotation: int = 0  # degrees, counter-clockwise, that the player turns it by
    fps: float = 0.0
    declared_frames: int = 0  # up to max_sec
    decoded_frames: int = 0
    damaged_frames: int = 0  # of the decoded ones
    video_sec: float = 0.0
    num_frames: int = 0  # sampled
    sampled_fps: float = 0.0
    frame_width: int = 0  # resized
    frame_height: int = 0
    audio_codec: str = ""
    channels: int = 0
    audio_hz: int = 0
    audio_sec: float = 0.0
    cut: bool = False
    silent: bool = False
    black: bool = False
    error: str = ""

    @property
    def num_video_tokens(self) -> int:
        """As ClipMedia."""
        return _num_video_tokens(self.num_frames, self.frame_height, self.frame_width)

    @property
    def num_audio_tokens(self) -> int:
        """As ClipMedia."""
        return _num_audio_tokens(-(-round(self.audio_sec * SAMPLE_RATE_HZ) // 160))


def load_media(clip: Clip, media: MediaConfig, cache: Path) -> ClipMedia:
    """Frames and mel features of a clip, from `cache` where it has them.

    Raises MediaError naming the clip, what is wrong and the way out; MissingExtraError without PyAV or Pillow.
    """
    video, audio = clip.video_path, clip.audio_path
    try:
        if video is None:
            raise Fault("it has no video file", "give the clip's video")
        if audio is None or media.audio_source == "track":
            audio = video
        key = content_hash({"version": MEDIA_VERSION, "video": file_hash(video), "audio": file_hash(audio), "media": media.model_dump()})
        place = cache / "media" / f"{key}.safetensors"
        if (kept := _read(place)) is None:
            _write(place, kept := _decode(video, audio, media))
        return kept
    except Fault as fault:
        raise MediaError(f"{clip.id}: {fault.what}; {fault.remedy}, or list the clip under 'exclude'.") from None


def probe(path: Path, media: MediaConfig | None = None) -> MediaReport:
    """What a file holds and what of it can be used; never raises for a bad file, its fault stands in `error`."""
    try:
        _check_file(path)
        done = media_child.ask({"op": "probe", "path": str(path.absolute()), **(media or MediaConfig()).model_dump()}).done
        return MediaReport(path, **done)
    except Fault as fault:
        return MediaReport(path, error=fault.what)


def file_hash(path: Path) -> str:
    """SHA-256 of a regular, non-empty file's bytes, memoised by path, size and time; raises Fault."""
    found = _check_file(path)
    return _hash(path, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _hash(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: Path) -> os.stat_result:
    """A file's stat, once it is sure that reading it neither blocks nor fails at once."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Fault(f"file {path} is absent", "put it there") from None
    except (OSError, ValueError) as error:
        raise Fault(f"file {path} cannot be looked at ({error})", "make it readable") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "a pipe or device"
        raise Fault(f"{path} is {kind}, no file", "put the file there")
    if found.st_size == 0:
        raise Fault(f"file {path} is empty (0 bytes)", FETCH)
    if not os.access(path, os.R_OK):
        raise Fault(f"file {path} must not be read (permissions {stat.filemode(found.st_mode)})", "make it readable")
    return found


def _decode(video: Path, audio: Path, media: MediaConfig) -> ClipMedia:
    """Both tracks through the child; raises Fault that names the file."""
    pictures = _ask("video", video, media)
    sound = _ask("audio", audio, media)
    frames = np.stack([np.frombuffer(data, np.uint8).reshape(shape) for shape, data in pictures.arrays])
    mel = log_mel(np.frombuffer(sound.arrays[0][1], np.float32))
    if mel.shape[1] < MIN_MEL_FRAMES:
        raise Fault(f"{sound.done['seconds']:.3f} s of sound give no audio token ({audio}); 0.03 s are the least", "give longer media")
    seconds = pictures.done["seconds"], sound.done["seconds"]
    return ClipMedia(frames, pictures.done["sampled_fps"], mel, *seconds, pictures.done["cut"] or sound.done["cut"])


def _ask(operation: str, path: Path, media: MediaConfig) -> media_child.Answer:
    try:
        return media_child.ask({"op": operation, "path": str(path.absolute()), **media.model_dump()})
    except Fault as fault:
        raise Fault(f"{fault.what} ({path})", fault.remedy) from None


def log_mel(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """(128, M) log-mel features of a mono 16 kHz waveform, M = ceil(samples / 160).

    What Qwen2_5OmniProcessor gives with its padding to 300 s cut off by its mask; 800 zeros behind are enough for that.
    """
    extract = _extractor()
    padded = np.concatenate([wave, np.zeros(800 - len(wave) % 160, np.float32)])
    features = extract(padded, sampling_rate=SAMPLE_RATE_HZ, padding="longest", truncation=False, return_tensors="np")
    return np.ascontiguousarray(features["input_features"][0, :, : -(-len(wave) // 160)], dtype=np.float32)


@functools.cache
def _extractor() -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=128, sampling_rate=SAMPLE_RATE_HZ, hop_length=160, n_fft=400, chunk_length=300)


def _write(place: Path, media: ClipMedia) -> None:
    """Keeps decoded media, whole or not at all; whoever is second replaces the same bytes."""
    from safetensors.numpy import save

    about = {"sampled_fps": media.sampled_fps, "video_sec": media.video_sec, "audio_sec": media.audio_sec, "cut": media.cut}
    about["crc"] = _crc(media.frames, media.mel)
    data = save({"frames": media.frames, "mel": media.mel}, metadata={"media": json.dumps(about)})
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.stem}", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(place)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _read(place: Path) -> ClipMedia | None:
    """Kept media; None where there are none, or where they are damaged and have to be made again."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(place, framework="np") as file:
            about = json.loads(file.metadata()["media"])
            frames, mel = file.get_tensor("frames"), file.get_tensor("mel")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    if about.pop("crc") != _crc(frames, mel):
        return None
    return ClipMedia(frames, about["sampled_fps"], mel, about["video_sec"], about["audio_sec"], about["cut"])


def _crc(frames: NDArray[np.uint8], mel: NDArray[np.float32]) -> int:
    return zlib.crc32(mel.data, zlib.crc32(frames.data))


def main(paths: list[str]) -> int:
    """Prints one row per file; 0 when all can be used."""
    reports = [probe(Path(path)) for path in paths]
    rows = [("file", "container", "video", "frames", "rate", "audio", "seconds", "tokens", "error"), *map(_row, reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 3 if any(report.error for report in reports) else 0


def _row(report: MediaReport) -> tuple[str, ...]:
    turned = f" turned {report.rotation}°" if report.rotation else ""
    video = f"{report.video_codec} {report.width}x{report.height} {report.fps:.5g} fps{turned}" if report.video_codec else "–"
    frames = f"{report.num_frames} of {report.frame_width}x{report.frame_height}" if report.num_frames else "–"
    audio = f"{report.audio_codec} {report.audio_hz} Hz x{report.channels}" if report.audio_codec else "–"
    seconds = f"{report.audio_sec:.2f}" if report.audio_sec else "–"
    notes = [word for word, holds in (("cut", report.cut), ("silent", report.silent), ("black", report.black)) if holds]
    rate = f"{report.sampled_fps:.3f}" if report.num_frames else "–"
    tokens = f"{report.num_video_tokens} + {report.num_audio_tokens}"
    container = report.container.split(",")[0] or "–"
    return report.path.name, container, video, frames, rate, audio, seconds, tokens, "; ".join([*notes, report.error]).strip("; ")


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
