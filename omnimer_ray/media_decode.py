"""Decoding of one media file, as the child process does it (media_child.py): frames at the budget, sound at 16 kHz.

Light on purpose: av, numpy and PIL only, so that a child starts in a third of a second. It opens nothing but the file
that it was asked for: a playlist cannot make it read another one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

SAMPLE_RATE_HZ = 16_000  # what the audio tower hears
PATCH = 28  # pixels: 14 of a vision patch, merged two by two
MAX_FRAME_PIXELS = 8192 * 8192  # of one decoded frame; 8K video has half of it
TAIL_SEC = 0.1  # what lies less than this behind max_sec is not called cut: codecs pad their last packet

FETCH = "fetch the file again"
Send = Callable[..., None]  # send(message, payload=b"")


class Fault(Exception):
    """What is wrong with a file, and what to do about it."""

    def __init__(self, what: str, remedy: str = FETCH) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy


class Scan(NamedTuple):
    """What a pass over the packets tells about a track, in seconds, cut at max_sec."""

    times: list[float]  # of the frames, ascending
    duration_sec: float  # from the first frame to the end of the last
    cut: bool
    declared: int  # frames that the container's index names; 0: it does not say
    declared_sec: float  # 0: the container does not say, or only guesses


def budget(height: int, width: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Height and width of a resized frame: multiples of 28 within the pixel budget, the aspect kept as far as possible.

    As qwen_omni_utils.v2_5.vision_process.smart_resize (0.0.9) computes it; a test holds them equal. Not imported: it takes 6 s.
    """
    if max(height, width) / min(height, width) > 200:
        raise Fault(f"frames of {width}x{height} pixels are more than 200 times as long as wide", "crop the video")
    new_height, new_width = (max(PATCH, round(side / PATCH) * PATCH) for side in (height, width))
    if new_height * new_width > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        return math.floor(height / beta / PATCH) * PATCH, math.floor(width / beta / PATCH) * PATCH
    if new_height * new_width < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        return math.ceil(height * beta / PATCH) * PATCH, math.ceil(width * beta / PATCH) * PATCH
    return new_height, new_width


def num_frames(duration_sec: float, available: int, frames_per_second: float, min_frames: int, max_frames: int) -> int:
    """How many frames to take: even, by qwen_omni_utils' smart_nframes; min_frames where the video has fewer."""
    wanted = min(max(duration_sec * frames_per_second, min_frames), max_frames, available)
    return max(math.floor(wanted / 2) * 2, min_frames)


def picks(times: list[float], count: int) -> list[int]:
    """Indices of `count` frames spread evenly over the time from the first to the last; a shorter video repeats its last frame.

    At a constant frame rate they are the reference's linspace(0, frames - 1, count).round().
    """
    import numpy as np

    if len(times) <= count:
        return [*range(len(times)), *[len(times) - 1] * (count - len(times))]
    places = np.interp(np.linspace(times[0], times[-1], count), times, np.arange(len(times)))
    return [int(place) for place in np.rint(places.round(6))]


class _Bytes:
    """A file without its name: formats are found by content."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def _refuse(*_: Any) -> None:
    raise PermissionError("a media file may not open another one")


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
    """The container of a file; raises Fault where there is none."""
    import av

    with Path(path).open("rb") as file:
        try:
            container = av.open(_Bytes(file), io_open=_refuse, metadata_errors="replace")
        except (av.FFmpegError, ValueError, OSError) as error:
            raise Fault(_no_container(path, error)) from None
        with container:
            if container.format.name.endswith("_pipe"):
                raise Fault(f"a still picture ({container.format.name.removesuffix('_pipe')}), no video", "give the clip's video")
            yield container


def _no_container(path: str, error: Exception) -> str:
    """What a file is that no container format fits."""
    with Path(path).open("rb") as file:
        head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")):
        return "it is a web page (HTML), no media file"
    if head[4:8] == b"ftyp":
        return "an mp4 without its index (moov): the file is cut short or was never finished"
    return f"no media format fits its content ({type(error).__name__})"


def track(container: Any, kind: str) -> Any:
    """The first real track of a kind ('video' or 'audio'); cover art is none."""
    import av

    streams = [s for s in getattr(container.streams, kind) if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams or streams[0].codec_context is None:
        has = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise Fault(f"no {kind} track in it (it holds: {has})", f"give a file with a {kind} track")
    streams[0].codec_context.thread_count = 1
    return streams[0]


def scan(path: str, kind: str, max_sec: float) -> Scan:
    """A track's time line from its packets, without decoding."""
    import av

    with opened(path) as container:
        stream = track(container, kind)
        base, step = float(stream.time_base), _frame_sec(stream)
        times: list[float] = []
        ends = [0.0]
        with contextlib.suppress(av.FFmpegError):  # the count below tells what is missing
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if packet.size == 0 or packet.is_discard:
                    continue
                times.append(stamp * base if stamp is not None else times[-1] + step if times else 0.0)
                ends.append(times[-1] + ((packet.duration or 0) * base or step))
                if packet.dts is not None and packet.dts * base > min(times) + max_sec + 2:
                    break
        if not times:
            raise Fault(f"its {kind} track holds no data")
        first, end = min(times), max(ends)
        kept = sorted(time for time in times if time - first < max_sec)
        cut = end - first > max_sec + TAIL_SEC
        declared, declared_sec = _declared(container, stream)
        return Scan(kept, min(end - first, max_sec), cut, declared, declared_sec)


def _frame_sec(stream: Any) -> float:
    """The nominal seconds of one frame of a track; 0 where it says nothing."""
    rate = stream.average_rate or stream.guessed_rate if stream.type == "video" else None
    return float(1 / rate) if rate else 0.0


def _declared(container: Any, stream: Any) -> tuple[int, float]:
    """Frames and seconds that the container claims, where its format states them instead of guessing from the bit rate."""
    formats = set(container.format.name.split(","))
    if not formats & {"mp4", "matroska", "avi", "wav", "flac", "flv", "asf"}:
        return 0, 0.0
    frames = 0
    if stream.frames and "mp4" in formats:  # an edit list hides frames; the index knows which
        frames = sum(not entry.is_discard for entry in stream.index_entries)
    elif "avi" in formats:
        frames = stream.frames
    seconds = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
    return frames, seconds


def decode_video(request: dict[str, Any], send: Send) -> dict[str, Any]:
    """Sends the picked frames in order, resized (H, W, 3) uint8; returns what was read."""
    import numpy as np

    plan = scan(request["path"], "video", request["max_sec"])
    count = num_frames(plan.duration_sec, len(plan.times), *(request[name] for name in ("frames_per_second", "min_frames", "max_frames")))
    chosen = picks(plan.times, count)
    images: dict[int, Any] = {}
    decoded = 0
    for index, frame in _frames(request["path"], plan):
        decoded += 1
        if index in chosen and index not in images:
            images[index] = _resized(frame, request["min_pixels"], request["max_pixels"], images)
            send({"progress": decoded})
    _complete("frames", plan, decoded, max(images, default=-1))
    for index in chosen:
        image = images[min(images, key=lambda have: abs(have - index))]
        send({"shape": image.shape}, np.ascontiguousarray(image).tobytes())
    seconds = plan.duration_sec
    return {"sampled_fps": count / seconds if seconds else request["frames_per_second"], "seconds": seconds, "cut": plan.cut}


def _frames(path: str, plan: Scan) -> Iterator[tuple[int, Any]]:
    """Decoded frames with their index in the plan; packets that cannot be decoded are left out."""
    import av
    import numpy as np

    times = np.asarray(plan.times)
    with opened(path) as container:
        stream = track(container, "video")
        order = 0
        for packet in _packets(container, stream):
            with contextlib.suppress(av.FFmpegError):
                for frame in packet.decode():
                    if frame.width * frame.height > MAX_FRAME_PIXELS:
                        raise Fault(f"frames of {frame.width}x{frame.height} pixels; the limit is 8192x8192", "scale the video down")
                    time = frame.time if frame.pts is not None else times[min(order, len(times) - 1)]
                    if time > plan.times[0] + plan.duration_sec + 1:
                        return
                    if time < plan.times[0] + plan.duration_sec:
                        yield int(np.abs(times - time).argmin()), frame
                    order += 1


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets up to the end or to where the container breaks."""
    import av

    with contextlib.suppress(av.FFmpegError):
        yield from container.demux(stream)


def _complete(what: str, plan: Scan, decoded: int, last: int) -> None:
    """Raises Fault where clearly fewer frames came out than the container declares."""
    declared = max(len(plan.times), 0 if plan.cut else plan.declared)
    if decoded == 0:
        raise Fault(f"none of its {declared} frames could be decoded")
    if declared - decoded > max(2, declared // 20):
        raise Fault(f"{decoded} of {declared} declared {what} could be decoded")


def _resized(frame: Any, min_pixels: int, max_pixels: int, images: dict[int, Any]) -> Any:
    """One frame upright, in RGB, at the size that the first one got: PIL's bicubic filter, as the reference uses."""
    import numpy as np
    from PIL import Image

    array = frame.to_ndarray(format="rgb24")
    quarter = round(frame.rotation / 90) % 4
    array = np.rot90(array, quarter) if quarter else array
    size = next(iter(images.values())).shape if images else budget(array.shape[0], array.shape[1], min_pixels, max_pixels)
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def decode_audio(request: dict[str, Any], send: Send) -> dict[str, Any]:
    """Sends the waveform: mono float32 at 16 kHz, cut at max_sec; returns what was read."""
    import numpy as np

    most = int(request["max_sec"] * SAMPLE_RATE_HZ)
    parts: list[Any] = []
    total = 0
    with opened(request["path"]) as container:
        stream = track(container, "audio")
        for part in _samples(container, stream):
            parts.append(part)
            total += part.size
            if total > most + TAIL_SEC * SAMPLE_RATE_HZ:
                break
        _, declared_sec = _declared(container, stream)
    if not total:
        raise Fault("no sound could be decoded from its audio track")
    seconds, cut = total / SAMPLE_RATE_HZ, total > most + TAIL_SEC * SAMPLE_RATE_HZ
    if not cut and min(declared_sec, request["max_sec"]) - seconds > max(0.5, declared_sec / 20):
        raise Fault(f"{seconds:.1f} of {declared_sec:.1f} declared seconds of sound could be decoded")
    wave = np.concatenate(parts)[:most]
    send({"shape": wave.shape}, wave.tobytes())
    return {"seconds": wave.size / SAMPLE_RATE_HZ, "cut": cut}


def _samples(container: Any, stream: Any) -> Iterator[Any]:
    """Blocks of mono samples at 16 kHz; a track may change its layout or rate on the way."""
    import av

    resampler: Any = None
    form: tuple[str, str, int] | None = None
    for packet in _packets(container, stream):
        with contextlib.suppress(av.FFmpegError):
            for frame in packet.decode():
                if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):
                    if resampler:
                        yield from (block.to_ndarray()[0] for block in resampler.resample(None))
                    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
                frame.pts = None
                yield from (block.to_ndarray()[0] for block in resampler.resample(frame))
    if resampler:
        yield from (block.to_ndarray()[0] for block in resampler.resample(None))
