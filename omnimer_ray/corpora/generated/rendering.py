"""One generated clip on disk: a wav of the speech, and an mp4 of the talking face with the same speech as its track."""

from __future__ import annotations

import math
import multiprocessing
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from omnimer_ray.corpora.generated import faces, speech
from omnimer_ray.errors import MachineError, MissingExtraError

FRAMES_PER_SECOND = 12
SIZE_PX = 112


class Person(NamedTuple):
    """Face and voice of a person."""

    look: faces.Look
    voice: str
    pitch_shift: float  # added to every prosody's pitch


class Performance(NamedTuple):
    """One clip to make: person, text, prosody and expression."""

    name: str  # of the files, without suffix; also seeds all jitter
    person: Person
    text: str
    audio_emotion: str
    video_emotion: str
    seed: str
    language: str = "id"  # of espeak-ng


class Limits(NamedTuple):
    """Seconds of a clip: shorter speech is followed by silence; longer speech is spoken up to twice as fast, then cut."""

    min_sec: float
    max_sec: float


def render_all(performances: Sequence[Performance], folder: Path, limits: Limits, workers: int, progress: Callable[[str], None]) -> None:
    """Write `folder/audio/<name>.wav` and `folder/videos/<name>.mp4` of each; raises MissingExtraError without the extra `demo`."""
    for name in ("audio", "videos"):
        (folder / name).mkdir(parents=True)
    for done, _ in enumerate(_each(partial(render, folder=folder, limits=limits), performances, workers), 1):
        if done % 64 == 0 or done == len(performances):
            progress(f"{done} of {len(performances)} clips made")


def _each(make: Callable[[Performance], None], performances: Sequence[Performance], workers: int) -> Iterator[None]:
    """Processes are spawned, not forked, because the caller may hold threads of torch or ray."""
    if workers == 1:
        yield from map(make, performances)
        return
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.map(make, performances, chunksize=8)
    except BrokenProcessPool:
        raise MachineError(
            "a process that makes clips died; free some memory and run the same command again "
            "(in a script of your own, call this under `if __name__ == '__main__':`)"
        ) from None


def render(performance: Performance, folder: Path, limits: Limits) -> None:
    """Write one clip; its two folders must exist."""
    random = Random(f"{performance.seed}/{performance.name}")
    samples = _speech(performance, random, limits)
    frames = _film(performance, samples, random)
    _write_wav(folder / "audio" / f"{performance.name}.wav", samples)
    _write_mp4(folder / "videos" / f"{performance.name}.mp4", frames, samples)


def _speech(performance: Performance, random: Random, limits: Limits) -> speech.Waveform:
    prosody = speech.varied(speech.PROSODY[performance.audio_emotion], random, random.uniform(0.7, 1.15))
    prosody = prosody._replace(pitch=min(99.0, max(0.0, prosody.pitch + performance.person.pitch_shift)))
    samples = speech.speak(performance.text, performance.person.voice, prosody, performance.language)
    too_long = samples.size / speech.RATE_HZ / limits.max_sec
    if too_long > 1:
        faster = prosody._replace(rate=prosody.rate * min(2.0, 1.1 * too_long))
        samples = speech.speak(performance.text, performance.person.voice, faster, performance.language)
    frame = speech.RATE_HZ / FRAMES_PER_SECOND
    num_frames = math.ceil(min(max(samples.size / speech.RATE_HZ, limits.min_sec), limits.max_sec) * FRAMES_PER_SECOND)
    whole = np.zeros(round(num_frames * frame), np.int16)
    kept = samples[: whole.size]
    whole[: kept.size] = kept
    return whole


def _film(performance: Performance, samples: speech.Waveform, random: Random) -> list[faces.Frame]:
    """The face at FRAMES_PER_SECOND: the expression rises within a third of a second and then varies slightly; the mouth follows the loudness."""
    pieces = np.array_split(samples.astype(np.float64), round(samples.size / speech.RATE_HZ * FRAMES_PER_SECOND))
    loudness = np.array([np.sqrt(np.mean(piece**2)) for piece in pieces])
    talking = loudness / max(loudness.max(), 1.0)
    full = faces.scaled(faces.EXPRESSION[performance.video_emotion], random.uniform(0.4, 1.1))
    phase, tempo, blink_at = random.uniform(0, 6.28), random.uniform(0.5, 1.1), random.randrange(len(pieces))
    frames = []
    for index, amount in enumerate(talking):
        sec = index / FRAMES_PER_SECOND
        strength = min(1.0, 0.5 + 1.5 * sec) * (0.92 + 0.08 * math.sin(5 * sec + phase))
        shake = full.tremble * random.uniform(-1.2, 1.2)
        moment = faces.Moment(
            faces.scaled(full, strength),
            float(amount),
            (index - blink_at) % 30 < 2,
            3 * math.sin(2 * math.pi * 0.35 * tempo * sec + phase) + shake,
            1.5 * math.sin(2 * math.pi * 0.6 * tempo * sec) + shake,
        )
        frames.append(faces.draw(performance.person.look, moment, SIZE_PX))
    return frames


def _write_wav(path: Path, samples: speech.Waveform) -> None:
    """16-bit PCM, mono, RATE_HZ."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(speech.RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())


def _write_mp4(path: Path, frames: list[npt.NDArray[np.uint8]], samples: speech.Waveform) -> None:
    """h264 (yuv420p) and aac; x264 gives the same bytes every time only without its lookahead (zerolatency) and with one thread."""
    try:
        import av
    except ImportError:
        raise MissingExtraError("av", "demo") from None
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream(
            "libx264", rate=FRAMES_PER_SECOND, options={"crf": "26", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
        )
        video.width = video.height = SIZE_PX
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=speech.RATE_HZ, layout="mono")
        audio.bit_rate = 48_000
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        track = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        track.sample_rate = speech.RATE_HZ
        container.mux(audio.encode(track))
        container.mux(audio.encode())
