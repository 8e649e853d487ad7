"""A corpus of bad and odd media, generated: what people's folders hold, each with what the media room should say of it.

Run:  python tests/bad_media.py FOLDER        # writes them, and prints what load_media says of each
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import tempfile
import wave
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from PIL import Image

RATE = Fraction(25)
QUARTER_TURN = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # a display matrix as phones write it: 90° clockwise


class Odd(NamedTuple):
    """One clip: its files, and the error that names its fault, or None where it loads."""

    name: str
    video: Path
    audio: Path | None
    error: str | None  # a part of the MediaError's text


def picture(index: int, width: int, height: int) -> np.ndarray[Any, Any]:
    """(H, W, 3) uint8: a bright block that moves over a gradient, so that every frame differs."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 1] = np.linspace(40, 200, width, dtype=np.uint8)
    left = index * 7 % max(1, width - 16)
    image[height // 4 : height // 2, left : left + 16] = 255
    return image


def tone(seconds: float, hz: int, channels: int = 1) -> np.ndarray[Any, Any]:
    """(channels, samples) float32: a gliding tone."""
    time = np.arange(round(seconds * hz)) / hz
    return np.tile(0.3 * np.sin(2 * np.pi * (200 + 100 * time) * time).astype(np.float32), (channels, 1))


def write_media(
    target: Path,
    *,
    container: str = "mp4",
    frames: int = 50,
    rate: Fraction = RATE,
    times: list[float] | None = None,
    size: tuple[int, int] = (128, 96),
    codec: str = "mpeg4",
    picture: Callable[[int, int, int], np.ndarray[Any, Any]] = picture,
    seconds: float | None = None,
    hz: int = 16_000,
    layout: str = "mono",
    audio_codec: str = "aac",
    sound: np.ndarray[Any, Any] | None = None,
    matrix: tuple[int, ...] | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> None:
    """A media file with `frames` pictures (0: no video track) and `seconds` of sound (default: as long; 0: no audio track)."""
    seconds = float(frames / rate) if seconds is None else seconds
    with av.open(str(target), "w", format=container, options=options or {}) as out:
        video = _video_track(out, codec, rate, size, matrix) if frames else None
        if video is not None:
            video.codec_context.options = codec_options or {}
        audio = out.add_stream(audio_codec, rate=hz, layout=layout) if seconds else None
        packets: list[Any] = []
        if video is not None:
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
                frame.time_base = Fraction(1, 90_000)
                frame.pts = round((times[index] if times else index / rate) * 90_000)
                packets += video.encode(frame)
            packets += video.encode(None)
        if audio is not None:
            channels = audio.codec_context.layout.nb_channels
            packets += _sound(audio, tone(seconds, hz, channels) if sound is None else sound, hz, layout)
        out.mux(sorted(packets, key=lambda packet: packet.dts * packet.time_base))


def _video_track(out: Any, codec: str, rate: Fraction, size: tuple[int, int], matrix: tuple[int, ...] | None) -> Any:
    video = out.add_stream(codec, rate=rate)
    video.width, video.height = size
    video.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
    video.codec_context.time_base = Fraction(1, 90_000) if codec != "mpeg4" else 1 / rate
    video.codec_context.gop_size = 12
    if matrix:
        video.set_display_matrix(matrix)
    return video


def _sound(audio: Any, sound: np.ndarray[Any, Any], hz: int, layout: str) -> list[Any]:
    """Encoded packets of (channels, samples)."""
    resampler = av.AudioResampler(format=audio.codec_context.format, layout=audio.codec_context.layout, rate=hz)
    packets: list[Any] = []
    for start in range(0, sound.shape[1], 1024):
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, start : start + 1024]), format="fltp", layout=layout)
        block.sample_rate, block.pts, block.time_base = hz, start, Fraction(1, hz)
        for frame in resampler.resample(block):
            packets += audio.encode(frame)
    packets += audio.encode(None)
    return packets


def media_bytes(**settings: Any) -> bytes:
    """The bytes that write_media makes."""
    with tempfile.NamedTemporaryFile() as file:  # a real file: a fast-start mp4 is written twice
        write_media(Path(file.name), **settings)
        return Path(file.name).read_bytes()


def write_wav(path: Path, samples: np.ndarray[Any, Any], hz: int = 16_000) -> None:
    """A 16-bit mono wav."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, hz, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def make(folder: Path) -> list[Odd]:
    """Writes every case into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_wav(good := folder / "good.wav", tone(2.0, 16_000)[0])
    cases: list[Odd] = []
    for group in (_no_media, _cut_and_corrupt, _tracks, _odd_but_fine, _odd_sound):
        for name, data, error in group():
            video = folder / name
            audio = None
            if isinstance(data, tuple):
                data, sound = data
                audio = good if sound is None else folder / f"{name}.wav"
                if sound:
                    audio.write_bytes(sound)
            if isinstance(data, bytes):
                video.write_bytes(data)
            elif data is not None:
                data(video)
            cases.append(Odd(name, video, audio, error))
    return cases


Case = tuple[str, Any, str | None]  # name; bytes, a maker, or (either, bytes of a wav or None for a good one); error


def _no_media() -> Iterator[Case]:
    nothing = "it is no media: no format fits its content"
    good = media_bytes()
    yield "absent.mp4", None, "is absent; put it there, or list the clip under 'exclude'."
    yield "empty.mp4", b"", "is empty (0 bytes); fetch the file again, or list the clip under 'exclude'."
    yield "directory.mp4", Path.mkdir, "is a directory, not a file; put the file there"
    yield "fifo.mp4", os.mkfifo, "is a pipe or device, not a file"
    yield "loop.mp4", lambda path: path.symlink_to(path.name), "cannot be looked at (Too many levels of symbolic links)"
    yield "dangling.mp4", lambda path: path.symlink_to("nowhere.mp4"), "is absent"
    yield "html.mp4", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 9, "it is a web page (HTML), not media"
    yield "json.mp4", b'{"error": "quota exceeded"}\n' * 20, nothing
    yield "random.mp4", np.random.default_rng(0).bytes(50_000), nothing
    yield "zeros.mp4", bytes(50_000), nothing
    yield "pickle.mp4", pickle.dumps({"a": list(range(999))}), nothing
    yield "zip.mp4", _zip(good), nothing
    yield "playlist.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\ngood.wav\n#EXT-X-ENDLIST\n", "it is a playlist; media"
    yield "concat.mp4", b"ffconcat version 1.0\nfile good.wav\n", "it is a playlist; media that it names are not opened"
    yield "session.mp4", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n", nothing
    yield "subtitles.mp4", b"1\n00:00:01,000 --> 00:00:02,000\nhalo\n\n" * 5, "no video track in it (it holds: subtitle)"
    yield "jpeg.mp4", _still("JPEG"), "it is a still picture (jpeg); give the clip's video"
    yield "png.mp4", _still("PNG"), "it is a still picture (png)"


def _cut_and_corrupt() -> Iterator[Case]:
    late, fast = media_bytes(), media_bytes(options={"movflags": "faststart"})
    head = fast.index(b"mdat") + 4
    body = len(fast) - head
    yield "cut_before_index.mp4", late[: len(late) // 2], "it is an mp4 without its index (moov)"
    yield "cut_half.mp4", (fast[: head + body // 2], None), "of 50 declared frames could be decoded"
    yield "cut_tenth.mp4", (fast[: head + body * 9 // 10], None), "of 50 declared frames could be decoded"
    yield "cut_in_index.mp4", fast[: head // 2], "it is an mp4 without its index (moov)"
    mkv, avi = media_bytes(container="matroska"), media_bytes(container="avi", audio_codec="mp3")
    yield "cut.mkv", (mkv[: len(mkv) // 2], None), "before the length that it states"
    yield "cut.avi", (avi[: len(avi) // 2], None), "before the length that it states"
    hole = bytearray(late)
    hole[len(late) // 3 : len(late) * 2 // 3] = bytes(len(late) * 2 // 3 - len(late) // 3)
    yield "hole.mp4", (bytes(hole), None), "frames"
    noise = np.frombuffer(late[: -len(late) // 4], np.uint8).copy()
    noise[2000::37] ^= 0x55
    yield "noise.mp4", (noise.tobytes() + late[-len(late) // 4 :], None), "frames"
    sound = _wav(tone(2.0, 16_000)[0])
    yield "wav_cut.mp4", (late, sound[: len(sound) // 2]), "it ends 1.0 s before the length that it states"
    yield "wav_header_only.mp4", (late, _wav(np.zeros(0))), "audio track holds nothing (0 frames)"
    yield "wav_html.mp4", (late, b"<html>no such file</html>"), "it is a web page (HTML), not media"
    yield "wav_nan.mp4", (late, media_bytes(**_float_wav(np.full((1, 32_000), np.nan, np.float32)))), "no numbers (NaN or infinite)"
    yield "wav_tiny.mp4", (late, _wav(tone(0.01, 16_000)[0])), "0.010 s of sound give no audio token"


def _tracks() -> Iterator[Case]:
    yield "no_audio.mp4", media_bytes(seconds=0), "no audio track in it (it holds: video); give a file with sound"
    yield "no_video.mp4", media_bytes(frames=0, seconds=2.0), "no video track in it (it holds: audio)"
    yield "no_frames.mp4", _without_frames(), "no video track in it (it holds: nothing)"
    unknown = media_bytes(container="matroska").replace(b"V_MPEG4/ISO/ASP", b"V_MADEUP/ISO/NO")
    yield "unknown_codec.mkv", unknown, "no decoder for its video codec; convert it, to h264 with aac for example"
    yield "wide.mp4", media_bytes(size=(3264, 16), frames=5, codec="libx264"), "are more than 200 times as long as wide; crop the video"
    yield "huge.avi", (_huge(), None), "8000x6000 pixels; 40,000,000 are the most"


def _odd_but_fine() -> Iterator[Case]:
    yield "good.mp4", media_bytes(), None
    yield "one_frame.mp4", (media_bytes(frames=1, seconds=1.0), None), None
    yield "three_frames.mp4", (media_bytes(frames=3), None), None
    yield "black.mp4", media_bytes(picture=lambda index, width, height: np.zeros((height, width, 3), np.uint8)), None
    yield "long.mp4", media_bytes(frames=40 * 25, size=(32, 32)), None
    yield "ntsc.mp4", media_bytes(rate=Fraction(30_000, 1001)), None
    yield "variable_rate.mkv", media_bytes(container="matroska", codec="libx264", times=_jumpy()), None
    yield "rotated.mp4", media_bytes(matrix=QUARTER_TURN), None
    yield "odd_size.mkv", media_bytes(container="matroska", size=(127, 95), codec="mjpeg"), None
    yield "matroska.mp4", media_bytes(container="matroska"), None
    yield "avi.mp4", media_bytes(container="avi", audio_codec="mp3"), None
    yield "transport.ts", media_bytes(container="mpegts", codec="libx264"), None
    yield "webm.mp4", media_bytes(container="webm", codec="libvpx", audio_codec="libopus", hz=48_000), None
    yield "fragmented.mp4", media_bytes(options={"movflags": "frag_keyframe+empty_moov"}), None
    yield "hevc.mp4", media_bytes(codec="libx265", frames=25, codec_options={"x265-params": "log-level=none"}), None
    yield "raw_h264.mp4", (media_bytes(container="h264", codec="libx264", seconds=0), None), None
    yield "animation.gif", (media_bytes(container="gif", codec="gif", frames=10, seconds=0), None), None


def _odd_sound() -> Iterator[Case]:
    video = media_bytes(seconds=0)
    yield "silent.mp4", media_bytes(sound=np.zeros((1, 32_000), np.float32)), None
    yield "stereo.mp4", media_bytes(hz=44_100, layout="stereo"), None
    yield "surround.mp4", media_bytes(hz=48_000, layout="5.1"), None
    yield "telephone.mp4", (video, media_bytes(container="wav", frames=0, seconds=2.0, hz=8000, audio_codec="pcm_mulaw")), None
    yield "flac.mp4", (video, media_bytes(container="flac", frames=0, seconds=2.0, audio_codec="flac")), None
    yield "mp3.mp4", (video, media_bytes(container="mp3", frames=0, seconds=2.0, audio_codec="mp3")), None
    yield "opus.mp4", (video, media_bytes(container="ogg", frames=0, seconds=2.0, hz=48_000, audio_codec="libopus")), None


def _zip(data: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clip.txt", data.hex())
    return target.getvalue()


def _still(form: str) -> bytes:
    target = io.BytesIO()
    Image.fromarray(picture(0, 64, 48)).save(target, form)
    return target.getvalue()


def _wav(samples: np.ndarray[Any, Any]) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return target.getvalue()


def _float_wav(sound: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"container": "wav", "frames": 0, "seconds": 1.0, "audio_codec": "pcm_f32le", "sound": sound}


def _huge() -> bytes:
    """A video whose header tells of frames of 48 million pixels."""
    small = media_bytes(container="avi", size=(256, 192), frames=5, codec="rawvideo", seconds=0)
    return small.replace(struct.pack("<II", 256, 192), struct.pack("<II", 8000, 6000))


def _without_frames() -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as out:
        video = _video_track(out, "mpeg4", RATE, (64, 48), None)
        video.codec_context.open(strict=False)
        out.start_encoding()
    return target.getvalue()


def _jumpy() -> list[float]:
    """50 frames in two seconds, two thirds of them in the first half."""
    return [index / 33 for index in range(33)] + [1 + index / 17 for index in range(17)]


def main(folder: Path) -> None:
    """Prints what load_media says of every case."""
    from omnimer_ray.config import MediaConfig
    from omnimer_ray.corpora.clips import Clip
    from omnimer_ray.errors import MediaError
    from omnimer_ray.media.load import load_media

    for case in make(folder):
        clip = Clip(case.name, case.name, "Topic", "train", "teks", None, None, None, None, None, case.video, case.audio)
        try:
            media = load_media(clip, MediaConfig(), folder / "cache")
            message = f"{media.frames.shape} at {media.sampled_fps:.2f}, {media.audio_sec:.2f} s{', cut' if media.cut else ''}"
        except MediaError as error:
            message = str(error)
        mark = " " if (case.error or "") in message and (case.error is None) == (not message.startswith(case.name)) else "!"
        print(f"{mark} {case.name:22} {message.replace(str(folder) + '/', '')}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
