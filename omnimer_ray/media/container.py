"""Contents of a media file: its container, its tracks and their time lines, read without decoding.

A file's format is found from its content, not from its name, and no other file is opened: a playlist or a session
description cannot make FFmpeg read another file or a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

MAX_FRAME_PIXELS = 40_000_000  # of one frame as stored; 8K (7680x4320) has 33 million
TAIL_SEC = 0.1  # a file that is longer than max_sec by less than this is not called cut: codecs pad their last packet
REORDER_SEC = 2.0  # a packet may come this much after one that is shown later

FETCH = "fetch the file again"

# formats that state a length; the others guess it from the bit rate or from the last packet that they find
STATING = {"mp4", "matroska", "avi", "flac"}


class Fault(Exception):
    """A fault of a file, and the way out."""

    def __init__(self, what: str, remedy: str = FETCH) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy


class Scan(NamedTuple):
    """The time line of one track up to max_sec, in seconds."""

    times: list[float]  # when its frames (video) or packets (audio) are shown, ascending
    duration_sec: float  # from the first of them to the end of the last
    held_sec: float  # the sum of their durations: less, where there are gaps
    cut: bool  # it is longer than max_sec
    declared: int  # frames in the container's index; 0: unknown
    missing_sec: float  # by which the whole file ends before the length that it states


class _Nameless:
    """A file without its name, so that formats are found by content."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open the container of a file; raises Fault if its content is no media."""
    import av

    with Path(path).open("rb") as file:
        try:
            nothing_else = {"protocol_whitelist": "none"}  # a concat script would open its files, an SDP file wait for the network
            container = av.open(_Nameless(file), metadata_errors="replace", container_options=nothing_else)
        except (av.FFmpegError, ValueError, OSError):
            raise Fault(_no_media(path)) from None
        with container:
            if container.format.name.endswith("_pipe"):
                raise Fault(f"it is a still picture ({container.format.name.removesuffix('_pipe')})", "give the clip's video")
            yield container


def _no_media(path: str) -> str:
    """Description of a file that FFmpeg cannot open."""
    with Path(path).open("rb") as file:
        head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "it is a web page (HTML), not media"
    if head[4:8] == b"ftyp":
        return "it is an mp4 without its index (moov): cut short, or never finished"
    if text.startswith((b"#extm3u", b"ffconcat")):
        return "it is a playlist; media that it names are not opened"
    return "it is no media: no format fits its content"


def real_tracks(container: Any) -> list[Any]:
    """All tracks but cover art."""
    from av.stream import Disposition

    return [stream for stream in container.streams if not stream.disposition & Disposition.attached_pic]


def track(container: Any, kind: str) -> Any:
    """The default track of a kind ('video' or 'audio'), else the first. Raises Fault without one that can be decoded."""
    from av.stream import Disposition

    streams = [stream for stream in real_tracks(container) if stream.type == kind]
    if not streams:
        has = ", ".join(sorted({stream.type for stream in real_tracks(container)}))
        raise Fault(
            f"no {kind} track in it (it holds: {has or 'nothing'})", f"give a file with {'sound' if kind == 'audio' else 'pictures'}"
        )
    stream = max(streams, key=lambda s: bool(s.disposition & Disposition.default))
    if stream.codec_context is None:
        raise Fault(f"no decoder for its {kind} codec", "convert it, to h264 with aac for example")
    if kind == "video":
        check_size(stream.width, stream.height)
    stream.codec_context.thread_count = 1  # several clips are decoded side by side; and threads multiply the memory
    return stream


def check_size(width: int, height: int) -> None:
    """Raise Fault for frames that are too large to be decoded within the memory limit."""
    if width * height > MAX_FRAME_PIXELS:
        raise Fault(f"its frames have {width}x{height} pixels; {MAX_FRAME_PIXELS:,} are the most", "scale the video down")


def scan(path: str, kind: str, max_sec: float) -> Scan:
    """Read a track's time line from its packets; raises Fault if it has none."""
    with opened(path) as container:
        stream = track(container, kind)
        base, step = float(stream.time_base), _frame_sec(stream)
        times: list[float] = []
        first, end, held, file_end = float("inf"), 0.0, 0.0, 0.0
        for packet in packets(container):
            stamp, lasts = packet.pts if packet.pts is not None else packet.dts, packet.duration or 0
            file_end = max(file_end, float(((stamp or 0) + lasts) * (packet.time_base or 0)))
            if packet.stream_index != stream.index or packet.size == 0 or packet.is_discard:
                continue
            times.append(stamp * base if stamp is not None else times[-1] + step if times else 0.0)
            first, end = min(first, times[-1]), max(end, times[-1] + (lasts * base or step))
            held += lasts * base if times[-1] < first + max_sec else 0.0
            if packet.dts is not None and packet.dts * base > first + max_sec + REORDER_SEC:
                break
        if not times:
            raise Fault(f"its {kind} track holds nothing (0 frames)")
        cut = end - first > max_sec + TAIL_SEC
        missing = 0.0 if cut else _missing_sec(path, container, stream, file_end)
        kept = sorted(time for time in times if time < first + max_sec)
        return Scan(kept, min(end - first, max_sec), held, cut, _stated_frames(container, stream), missing)


def packets(container: Any, *streams: Any) -> Iterator[Any]:
    """Yield packets up to the end or to the first damaged one: their count shows how much is missing."""
    import av

    demuxed = container.demux(*streams)
    while True:
        try:
            yield next(demuxed)
        except (StopIteration, IndexError):  # PyAV stumbles at the end over tracks that appeared on the way
            return
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            return


def _frame_sec(stream: Any) -> float:
    """Nominal seconds of one video frame; 0 if unknown."""
    rate = (stream.average_rate or stream.guessed_rate) if stream.type == "video" else None
    return float(1 / rate) if rate else 0.0


def _stated_frames(container: Any, stream: Any) -> int:
    if stream.type != "video" or not stream.frames or "mp4" not in container.format.name.split(","):
        return 0
    return sum(not entry.is_discard for entry in stream.index_entries)  # an edit list hides frames; the index marks them


def _missing_sec(path: str, container: Any, stream: Any, file_end: float) -> float:
    """Seconds between the end of the data and the end that the format states; 0 if it states none."""
    formats = set(container.format.name.split(","))
    if "wav" not in formats:
        return container.duration / 1e6 - file_end if container.duration and formats & STATING else 0.0
    with Path(path).open("rb") as file:  # FFmpeg cuts a wav to its file size without an error; the RIFF header has the declared size
        head = file.read(8)
        stated, size = int.from_bytes(head[4:8], "little") + 8, file.seek(0, 2)
    known = head[:4] == b"RIFF" and stated < 0x7FFF_F000 and stream.codec_context.bit_rate  # writers to pipes state 4 GiB or so
    return (stated - size) * 8 / stream.codec_context.bit_rate if known else 0.0
