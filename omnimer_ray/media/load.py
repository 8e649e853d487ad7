"""A clip's file -> frames and sound for the model, checked, and cached by content for all runs.

T frames, H and W their height and width, M mel frames of 10 ms. A file is identified by its content, whatever its name, and decoded in a
child process. Limits: 40 million pixels a frame, media.max_sec of each track, 8 s of processor time without progress, 4 GiB of memory.
"""

from __future__ import annotations

import errno
import functools
import platform
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, assert_never

import numpy as np
from numpy.typing import NDArray

from omnimer_ray.config import AudioSource, MediaConfig, content_hash
from omnimer_ray.corpora.clips import Clip
from omnimer_ray.corpora.files import content_hashes
from omnimer_ray.errors import MachineError, MediaError
from omnimer_ray.media import child_process
from omnimer_ray.media.cache import check_file, keep, kept, source_hash
from omnimer_ray.media.container import Fault
from omnimer_ray.media.decode import SAMPLE_RATE_HZ

MEDIA_VERSION = 1  # raise it when code changes what the same file and settings give
HOP = 160  # samples: a mel frame every 10 ms

_importing = threading.Lock()  # importing transformers in two threads at once fails
_SCALARS = ("sampled_fps", "video_sec", "audio_sec", "cut")


def _num_video_tokens(frames: int, height: int, width: int) -> int:
    """Frames in pairs, patches of 14 pixels merged two by two."""
    return frames // 2 * (height // 28) * (width // 28)


def _num_audio_tokens(mel_frames: int) -> int:
    """Two halvings of the mel frames: 25 tokens a second (transformers, _get_feat_extract_output_lengths)."""
    return max(0, ((mel_frames - 1) // 2 - 1) // 2 + 1)


class ClipMedia(NamedTuple):
    """The model's input of one clip."""

    frames: NDArray[np.uint8]  # (T, H, W, 3), T even, H and W multiples of 28
    sampled_fps: float  # frames per second of those frames: T over the seconds that they span
    mel: NDArray[np.float32]  # (128, M) log-mel, cut to the clip
    video_sec: float
    audio_sec: float
    cut: bool  # the file is longer than media.max_sec

    @property
    def num_video_tokens(self) -> int:
        """Number of placeholders of the video in the prompt."""
        return _num_video_tokens(*self.frames.shape[:3])

    @property
    def num_audio_tokens(self) -> int:
        """Number of placeholders of the sound in the prompt."""
        return _num_audio_tokens(self.mel.shape[1])


class MediaReport(NamedTuple):
    """The result of `probe` for a file; fields of an absent track keep their defaults."""

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
        """As in ClipMedia."""
        return _num_video_tokens(self.num_frames, self.frame_height, self.frame_width)

    @property
    def num_audio_tokens(self) -> int:
        """As in ClipMedia."""
        return _num_audio_tokens(-(-round(self.audio_sec * SAMPLE_RATE_HZ) // HOP))


def load_media(clip: Clip, media: MediaConfig, cache: Path) -> ClipMedia:
    """Frames and mel features of a clip, from `cache` if it has them; a track that its files lack is blank.

    Raises MediaError naming the clip, the fault and the way out; MachineError if the files on this node are absent, or others
    than when the corpus was read; MissingExtraError without the extra `train`.
    """
    child_process.need("av", "PIL", "safetensors", "transformers")
    video = clip.video_path if "video" in clip.tracks else None
    audio = _audio_file(clip, media.audio_source) if "audio" in clip.tracks else None
    planned = _planned(clip, audio)
    try:
        if (video is None and "video" in clip.tracks) or (audio is None and "audio" in clip.tracks):
            raise Fault("it has no video file", "give its video_path")
        sources = {path: source_hash(path, cache) for path in (video, audio) if path}
        _compare(clip, planned, sources)
        key = {
            "video": sources[video] if video else None,
            "audio": sources[audio] if audio else None,
            "media": media.model_dump(),
            "version": MEDIA_VERSION,
        }
        place = cache / "media" / f"{content_hash(key)}.safetensors"
        if (entry := kept(place)) is not None:
            return ClipMedia(frames=entry.arrays["frames"], mel=entry.arrays["mel"], **entry.about)
        found = _decode(video, audio, media)
    except child_process.NodeFault as fault:
        raise MachineError(f"{clip.id}: {fault.what}, on {platform.node()}; {fault.remedy}") from None
    except Fault as fault:
        _compare(clip, planned, {path: _read_again(clip, path) for path in planned})  # what remains is a fault of the contents
        raise MediaError(f"{clip.id}: {fault.what}; {fault.remedy}, or list the clip under 'exclude'.") from None
    keep(place, {"frames": found.frames, "mel": found.mel}, {name: getattr(found, name) for name in _SCALARS})
    return found


def frames_hash(clip: Clip, cache: Path) -> str:
    """Hash of what a clip's frames are made from, whatever the media settings. Raises MachineError if its file cannot be read."""
    return _track_hash(clip, "video", clip.video_path if "video" in clip.tracks else None, cache)


def sound_hash(clip: Clip, source: AudioSource, cache: Path) -> str:
    """The same of a clip's sound."""
    return _track_hash(clip, "audio", _audio_file(clip, source) if "audio" in clip.tracks else None, cache)


def _track_hash(clip: Clip, track: str, path: Path | None, cache: Path) -> str:
    try:
        return content_hash({track: source_hash(path, cache) if path else None, "version": MEDIA_VERSION})
    except Fault as fault:
        raise MachineError(f"{clip.id}: {fault.what}, on {platform.node()}; {fault.remedy}") from None


def clip_wave(clip: Clip, media: MediaConfig) -> NDArray[np.float32]:
    """A clip's sound, mono at 16 kHz; .1 s of silence of a clip without. Raises MediaError naming the clip if it cannot be decoded."""
    path = _audio_file(clip, media.audio_source) if "audio" in clip.tracks else None
    if path is None:
        return _silence()
    try:
        return load_wave(path, media)[0]
    except child_process.NodeFault as fault:
        raise MachineError(f"{clip.id}: {fault.what}, on {platform.node()}; {fault.remedy}") from None
    except Fault as fault:
        raise MediaError(f"{clip.id}: {fault.what}; {fault.remedy}, or list the clip under 'exclude'.") from None


def _silence() -> NDArray[np.float32]:
    return np.zeros(SAMPLE_RATE_HZ // 10, np.float32)


def _audio_file(clip: Clip, source: AudioSource) -> Path | None:
    """Return the file that a clip's sound is read from."""
    match source:
        case "file":
            return clip.audio_path or clip.video_path
        case "track":
            return clip.video_path
        case unknown:
            assert_never(unknown)


def _planned(clip: Clip, audio: Path | None) -> dict[Path, str]:
    """The clip's files that are decoded -> their hashes when the corpus was read; files without a hash are left out."""
    files = {clip.video_path: clip.video_hash, audio: clip.audio_hash if audio == clip.audio_path else clip.video_hash}
    return {path: planned for path, planned in files.items() if path and planned}


def _compare(clip: Clip, planned: Mapping[Path, str], found: Mapping[Path, str]) -> None:
    """Raise MachineError if a file's contents differ from those that the plan was made for."""
    for path, wanted in planned.items():
        if found[path] != wanted:
            raise MachineError(
                f"{clip.id}: {path} on {platform.node()} has contents with hash {found[path][:16]}, and the plan was made for {wanted[:16]}; "
                "copy the corpus there again, or give the same command again if the file was changed on purpose"
            )


def _read_again(clip: Clip, path: Path) -> str:
    """Hash of a file, read again without the memo. Raises MachineError if it is unreadable, because it was readable when the corpus was read."""
    try:
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "absent, or not a file")
        return content_hashes([path], None)[path]
    except OSError as error:
        raise MachineError(
            f"{clip.id}: {path} cannot be read on {platform.node()} ({error.strerror}); mount or copy the corpus there"
        ) from None


def probe(path: Path, media: MediaConfig | None = None) -> MediaReport:
    """Report on a file's tracks and their usable parts; a bad file does not raise, its fault is in `error`."""
    try:
        check_file(path)
        done = child_process.ask({"op": "probe", "path": str(path.absolute()), **(media or MediaConfig()).model_dump()}).done
        return MediaReport(path, **done)
    except Fault as fault:
        return MediaReport(path, error=fault.what.removeprefix(f"{path}: "))


def _decode(video: Path | None, audio: Path | None, media: MediaConfig) -> ClipMedia:
    """Decode the tracks in the child process; raises Fault with the file's name. A track without a file is blank."""
    frames, fps = np.zeros((2, 28, 28, 3), np.uint8), media.frames_per_second
    wave = _silence()
    ends: dict[str, dict[str, Any]] = {"video": {"seconds": 0.0, "cut": False}, "audio": {"seconds": 0.0, "cut": False}}
    if video is not None:
        pictures = _ask("video", video, media)
        frames = np.stack([np.frombuffer(data, np.uint8).reshape(shape) for shape, data in pictures.arrays])
        fps, ends["video"] = pictures.done["sampled_fps"], pictures.done
    if audio is not None:
        wave, ends["audio"] = load_wave(audio, media)
        if not _num_audio_tokens(-(-len(wave) // HOP)):
            raise Fault(f"{audio}: {ends['audio']['seconds']:.3f} s of sound give no audio token", "give 0.03 s or more")
    cut = bool(ends["video"]["cut"] or ends["audio"]["cut"])
    return ClipMedia(frames, fps, log_mel(wave), ends["video"]["seconds"], ends["audio"]["seconds"], cut)


def load_wave(path: Path, media: MediaConfig) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """A file's sound, mono at 16 kHz, and about it: `seconds`, and `cut` if the file is longer. Raises Fault with the file's name."""
    sound = _ask("audio", path, media)
    return np.frombuffer(sound.arrays[0][1], np.float32), sound.done


def _ask(operation: str, path: Path, media: MediaConfig) -> child_process.Answer:
    try:
        return child_process.ask({"op": operation, "path": str(path.absolute()), **media.model_dump()})
    except Fault as fault:
        raise type(fault)(f"{path}: {fault.what}", fault.remedy) from None


def log_mel(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """(128, M) log-mel features of a mono 16 kHz waveform, M = ceil(samples / 160).

    Equal to the output of Qwen2_5OmniProcessor with its padding to 300 s cut off by its mask; appending 800 zeros is enough for that.
    """
    with _importing:
        extract = _extractor()
    padded = np.concatenate([wave, np.zeros(800 - len(wave) % HOP, np.float32)])
    features = extract(padded, sampling_rate=SAMPLE_RATE_HZ, padding="longest", truncation=False, return_tensors="np")
    return np.ascontiguousarray(features["input_features"][0, :, : -(-len(wave) // HOP)], dtype=np.float32)


@functools.cache
def _extractor() -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=128, sampling_rate=SAMPLE_RATE_HZ, hop_length=HOP, n_fft=400, chunk_length=300)
