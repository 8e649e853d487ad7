"""Decoding of one media file, run in the child process (child_process.py): frames at the pixel budget, sound at 16 kHz.

It imports only av, numpy and PIL, so that a child starts in a third of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from omnimer_ray.media.container import TAIL_SEC, Fault, Scan, check_size, opened, packets, scan, track

SAMPLE_RATE_HZ = 16_000  # of the audio tower's input
FULL_SCALE = np.float32(2.0**-31)  # of 32-bit samples
PATCH = 28  # pixels: 14 of a vision patch, merged two by two
MISSING_FRAMES, MISSING_SHARE = 2, 0.05  # more than both: cut short or corrupt; real files lack a frame at their ends
MISSING_SEC = 0.25

Send = Callable[..., None]  # send(message, payload=b"")


def budget(height: int, width: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Height and width of a resized frame: multiples of 28 within the pixel budget, the aspect kept as far as possible.

    As qwen_omni_utils.v2_5.vision_process.smart_resize (0.0.9) computes it; a test holds them equal. Importing that takes 6 s.
    """
    if max(height, width) > 200 * min(height, width):
        raise Fault(f"its frames of {width}x{height} pixels are more than 200 times as long as wide", "crop the video")
    new_height, new_width = (max(PATCH, round(side / PATCH) * PATCH) for side in (height, width))
    if new_height * new_width > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        new_height, new_width = (math.floor(side / beta / PATCH) * PATCH for side in (height, width))
    elif new_height * new_width < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        new_height, new_width = (math.ceil(side * beta / PATCH) * PATCH for side in (height, width))
    if not new_height * new_width:
        raise Fault(f"its frames of {width}x{height} pixels are too long to be resized to {max_pixels} pixels", "crop the video")
    return new_height, new_width


def num_frames(duration_sec: float, available: int, frames_per_second: float, min_frames: int, max_frames: int) -> int:
    """Number of frames to take: even, by qwen_omni_utils' smart_nframes; min_frames if the video has fewer."""
    wanted = min(max(duration_sec * frames_per_second, min_frames), max_frames, available)
    return max(math.floor(wanted / 2) * 2, min_frames)


def picks(times: list[float], count: int) -> list[int]:
    """Indices of `count` frames spread evenly over the time from the first to the last; a shorter video repeats its last frame.

    At a constant frame rate they are the reference's linspace(0, frames - 1, count).round().
    """
    if len(times) <= count:
        return [*range(len(times)), *[len(times) - 1] * (count - len(times))]
    places = np.interp(np.linspace(times[0], times[-1], count), times, np.arange(len(times)))
    return [int(place) for place in np.rint(places.round(6))]


def decode_video(request: dict[str, Any], send: Send) -> dict[str, Any]:
    """Send the selected frames in order, each resized, (H, W, 3) uint8; returns a summary of the track."""
    plan = scan(request["path"], "video", request["max_sec"])
    count = num_frames(plan.duration_sec, len(plan.times), *(request[name] for name in ("frames_per_second", "min_frames", "max_frames")))
    chosen = picks(plan.times, count)
    waiting = sorted(set(chosen))
    images: dict[int, Any] = {}
    decoded, damaged, rotation, last = 0, 0, 0, None
    errors: list[Exception] = []

    def take(frame: Any, due: list[int]) -> None:
        nonlocal rotation
        rotation = round(frame.rotation / 90) % 4 * 90
        images.update(dict.fromkeys(due, _resized(frame, rotation, request["min_pixels"], request["max_pixels"], images)))

    for index, last in _frames(request["path"], plan, errors):
        decoded, damaged = decoded + 1, damaged + bool(last.is_corrupt)
        send({"progress": decoded})
        if due := [want for want in waiting if want <= index]:  # a frame that is lost is replaced by the next
            take(last, due)
            waiting = waiting[len(due) :]
    if last is not None and waiting:
        take(last, waiting)
    _check_frames(plan, decoded, damaged, bool(errors))
    for index in chosen:
        send({"shape": images[index].shape}, images[index].tobytes())
    seconds = plan.duration_sec
    rate = count / seconds if seconds else request["frames_per_second"]
    return {"sampled_fps": rate, "seconds": seconds, "cut": plan.cut, "rotation": rotation, "decoded": decoded, "damaged": damaged}


def _frames(path: str, plan: Scan, errors: list[Exception]) -> Iterator[tuple[int, Any]]:
    """Yield decoded frames up to the last selected one, with their index in the time line."""
    times = np.asarray(plan.times)
    slack = 1.5 * plan.duration_sec / len(times)  # a decoded frame's time may differ from its packet's by one frame
    with opened(path) as container:
        stream = track(container, "video")
        for order, frame in enumerate(_decoded(container, stream, errors)):
            check_size(frame.width, frame.height)
            if frame.pts is None and order >= len(times):
                return
            time = times[order] if frame.pts is None else frame.time
            if time > times[-1] + slack:
                return
            yield int(np.abs(times - time).argmin()), frame


def _decoded(container: Any, stream: Any, errors: list[Exception]) -> Iterator[Any]:
    """Frames of a track; packets that cannot be decoded are left out, as players do, and listed."""
    import av

    for packet in packets(container, stream):
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            errors.append(error)


def _check_frames(plan: Scan, decoded: int, damaged: int, with_errors: bool) -> None:
    """Raise Fault if clearly fewer frames were decoded than the container declares.

    Fewer frames than packets are no fault if there was no decoding error: a packet may hold half a frame (interlaced) or a hidden one.
    """
    declared = max(len(plan.times), 0 if plan.cut else plan.declared)
    came = decoded if with_errors or not decoded else max(decoded, len(plan.times))
    allowed = max(MISSING_FRAMES, declared * MISSING_SHARE)
    if decoded == 0 or declared - came > allowed:
        raise Fault(f"{came} of {declared} declared frames could be decoded")
    if damaged > allowed:
        raise Fault(f"{damaged} of {declared} frames are damaged")
    if plan.missing_sec > max(MISSING_SEC, plan.duration_sec * MISSING_SHARE):
        raise Fault(f"it ends {plan.missing_sec:.1f} s before the length that it states")


def _resized(frame: Any, rotation: int, min_pixels: int, max_pixels: int, images: dict[int, Any]) -> Any:
    """One frame upright, in RGB, at the size of the first one: by PIL's bicubic filter, as in the reference."""
    from PIL import Image

    array = np.rot90(frame.to_ndarray(format="rgb24"), rotation // 90)
    height, width = array.shape[:2]
    size = next(iter(images.values())).shape if images else budget(height, width, min_pixels, max_pixels)
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def decode_audio(request: dict[str, Any], send: Send) -> dict[str, Any]:
    """Send the waveform: mono float32 at 16 kHz, cut at max_sec; returns a summary of the track."""
    plan = scan(request["path"], "audio", request["max_sec"])
    most = int(request["max_sec"] * SAMPLE_RATE_HZ)
    parts: list[Any] = []
    total = 0
    with opened(request["path"]) as container:
        for part in _samples(_decoded(container, track(container, "audio"), [])):
            parts.append(part)
            total += part.size
            if total > most + TAIL_SEC * SAMPLE_RATE_HZ:
                break
    _check_sound(plan, total / SAMPLE_RATE_HZ)
    wave = np.concatenate(parts)[:most]
    send({"shape": wave.shape}, wave.tobytes())
    return {"seconds": wave.size / SAMPLE_RATE_HZ, "cut": total > most + TAIL_SEC * SAMPLE_RATE_HZ}


def _check_sound(plan: Scan, seconds: float) -> None:
    """Raise Fault if clearly less sound was decoded than the packets hold or the container states."""
    allowed = max(MISSING_SEC, plan.held_sec * MISSING_SHARE)
    if seconds == 0 or plan.held_sec - seconds > allowed:
        raise Fault(f"{seconds:.1f} of {plan.held_sec:.1f} s of its sound could be decoded")
    if plan.missing_sec > allowed:
        raise Fault(f"it ends {plan.missing_sec:.1f} s before the length that it states")


def _samples(frames: Iterator[Any]) -> Iterator[Any]:
    """Blocks of mono float32 samples at 16 kHz; a track may change its layout or rate on the way."""
    import av

    resampler: Any = None
    form: tuple[str, str, int] | None = None
    for frame in frames:
        if frame.format.name in ("flt", "dbl") and not np.isfinite(frame.to_ndarray()).all():
            raise Fault("its sound holds samples that are no numbers (NaN or infinite)")
        if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):
            yield from _blocks(resampler, None)
            # to integers: only then does FFmpeg scale the downmix to full scale, so that stereo becomes its mean, as in the reference
            resampler = av.AudioResampler(format="s32p", layout="mono", rate=SAMPLE_RATE_HZ)
        frame.pts = None  # samples follow each other; gaps between time stamps are not filled
        try:
            yield from _blocks(resampler, frame)
        except av.ArgumentError:
            form_of = f"{frame.layout.name} at {frame.sample_rate} Hz"
            raise Fault(f"its sound ({form_of}) cannot be mixed down", "give mono or stereo sound") from None
    yield from _blocks(resampler, None)


def _blocks(resampler: Any, frame: Any) -> list[Any]:
    return [block.to_ndarray()[0].astype(np.float32) * FULL_SCALE for block in resampler.resample(frame)] if resampler else []
