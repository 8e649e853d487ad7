"""Report on one media file, made in the child process: tracks, what can be decoded, suspicious findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from omnimer_ray.media.container import Fault, opened, real_tracks, scan, track
from omnimer_ray.media.decode import Send, decode_audio, decode_video

SILENT_PEAK = 10 ** (-60 / 20)  # of full scale: quieter than the noise of any microphone
BLACK_LEVEL = 32  # of 255, on 99 of 100 pixels of every frame; video black is 16


def inspect(request: dict[str, Any], send: Send) -> dict[str, Any]:
    """The fields of media.MediaReport for the file `path`, up to `max_sec` of it."""
    with opened(request["path"]) as container:
        report: dict[str, Any] = {"container": container.format.name, "cut": False}
        kinds = {stream.type for stream in real_tracks(container)}
    faults = [] if kinds & {"video", "audio"} else ["neither a video nor an audio track in it"]
    for kind, look in (("video", _video), ("audio", _audio)):
        try:
            if kind in kinds:
                look(request, send, report)
        except Fault as fault:
            faults.append(f"{kind}: {fault.what}" if kinds >= {"video", "audio"} else fault.what)
    return {**report, "error": "; ".join(faults)}


def _video(request: dict[str, Any], send: Send, report: dict[str, Any]) -> None:
    with opened(request["path"]) as container:
        stream = track(container, "video")
        report.update(video_codec=stream.codec_context.name, width=stream.width, height=stream.height, fps=float(stream.average_rate or 0))
    plan = scan(request["path"], "video", request["max_sec"])
    report["declared_frames"] = max(len(plan.times), 0 if plan.cut else plan.declared)
    frames: list[Any] = []
    done = decode_video(request, _keeping(frames, send, np.uint8))
    for name, field in (("video_sec", "seconds"), ("sampled_fps", "sampled_fps"), ("rotation", "rotation")):
        report[name] = done[field]
    report.update(decoded_frames=done["decoded"], damaged_frames=done["damaged"], cut=done["cut"])
    report.update(num_frames=len(frames), frame_height=frames[0].shape[0], frame_width=frames[0].shape[1])
    report["black"] = all(np.percentile(frame[::4, ::4], 99) <= BLACK_LEVEL for frame in frames)


def _audio(request: dict[str, Any], send: Send, report: dict[str, Any]) -> None:
    with opened(request["path"]) as container:
        stream = track(container, "audio")
        report.update(audio_codec=stream.codec_context.name, channels=stream.channels, audio_hz=stream.sample_rate)
    waves: list[Any] = []
    done = decode_audio(request, _keeping(waves, send, np.float32))
    report.update(audio_sec=done["seconds"], cut=report["cut"] or done["cut"])
    report["silent"] = float(np.abs(waves[0]).max()) < SILENT_PEAK


def _keeping(arrays: list[Any], send: Send, dtype: type) -> Callable[..., None]:
    """A `send` that keeps arrays here and only reports progress to the parent."""

    def keep(message: dict[str, Any], payload: bytes = b"") -> None:
        if "shape" in message:
            arrays.append(np.frombuffer(payload, dtype).reshape(message["shape"]))
        else:
            send(message)

    return keep
