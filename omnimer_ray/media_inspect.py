"""A report on one media file, as the child process makes it: what it holds, what of it decodes, what is suspicious."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from omnimer_ray import media_decode

SILENT_PEAK = 10 ** (-60 / 20)  # of full scale: quieter than the noise of any microphone
BLACK_LEVEL = 24  # of 255; video black is 16


def inspect(request: dict[str, Any], send: media_decode.Send) -> dict[str, Any]:
    """The fields of media.MediaReport for the file `path` (frames and sound up to `max_sec`)."""
    report: dict[str, Any] = {}
    with media_decode.opened(request["path"]) as container:
        report["container"] = container.format.name
        kinds = {stream.type for stream in container.streams}
    report.update(_try(_video, request) if "video" in kinds else {})
    audio = _try(_audio, request) if "audio" in kinds else {}
    faults = [part.pop("error") for part in (report, audio) if part.get("error")]
    if not kinds & {"video", "audio"}:
        faults.append("neither a video nor an audio track in it")
    return {**report, **audio, "cut": report.get("cut", False) or audio.get("cut", False), "error": "; ".join(faults)}


def _try(look: Callable[[dict[str, Any]], dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    try:
        return look(request)
    except media_decode.Fault as fault:
        return {"error": fault.what}


def _video(request: dict[str, Any]) -> dict[str, Any]:
    frames: list[tuple[tuple[int, ...], bytes]] = []
    with media_decode.opened(request["path"]) as container:
        stream = media_decode.track(container, "video")
        rotation = next((round(frame.rotation) % 360 for frame in container.decode(stream)), 0)
        about = {"video_codec": stream.codec_context.name, "width": stream.width, "height": stream.height, "rotation": rotation}
        about["fps"] = float(stream.average_rate or 0)
    plan = media_decode.scan(request["path"], "video", request["max_sec"])
    about.update(declared_frames=max(plan.declared, len(plan.times)), cut=plan.cut)

    def keep(message: dict[str, Any], payload: bytes = b"") -> None:
        if "shape" in message:
            frames.append((tuple(message["shape"]), payload))

    try:
        done = media_decode.decode_video(request, keep)
    except media_decode.Fault as fault:
        return {**about, "error": fault.what}
    shape = frames[0][0]
    about.update(
        video_sec=done["seconds"], sampled_fps=done["sampled_fps"], num_frames=len(frames), frame_height=shape[0], frame_width=shape[1]
    )
    return {**about, "black": max(max(payload) for _, payload in frames) <= BLACK_LEVEL}


def _audio(request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    waves: list[bytes] = []
    with media_decode.opened(request["path"]) as container:
        stream = media_decode.track(container, "audio")
        about = {"audio_codec": stream.codec_context.name, "channels": stream.channels, "audio_hz": stream.sample_rate}
    try:
        done = media_decode.decode_audio(request, lambda message, payload=b"": waves.append(payload))
    except media_decode.Fault as fault:
        return {**about, "error": fault.what}
    peak = float(np.abs(np.frombuffer(waves[0], np.float32)).max())
    return {**about, "audio_sec": done["seconds"], "cut": done["cut"], "silent": peak < SILENT_PEAK}
