"""Speech with the prosody of an emotion, by espeak-ng (extra `demo`); used by the mini corpus and by stand-in media."""

from __future__ import annotations

import _ctypes
import atexit
import ctypes
import functools
import os
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from omnimer_ray.errors import ConfigError, MissingExtraError, near

RATE_HZ = 22_050  # of espeak-ng, and of the release's wav files
Waveform = npt.NDArray[np.int16]  # (samples,)

_SYNCHRONOUS, _UTF8 = 2, 1  # espeak-ng's speak_lib.h: AUDIO_OUTPUT_SYNCHRONOUS, espeakCHARS_UTF8
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
_LONGEST_DATA_PATH = 120  # espeak-ng keeps paths of its data in buffers of 160 bytes
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Prosody(NamedTuple):
    """Prosody of an utterance. `pitch` and `pitch_range` in espeak's 0-100, `rate` in words per minute, `volume` 0-200."""

    pitch: float
    pitch_range: float
    rate: float
    volume: float
    glide: float = 0.0  # relative change of pitch from the first to the last sample
    tremor_hz: float = 0.0  # the loudness shakes at this rate
    drive: float = 0.0  # saturation: a pressed, harsh voice


PROSODY = {
    "neutral": Prosody(45, 40, 175, 90),
    "happiness": Prosody(75, 90, 195, 110, glide=0.12),
    "surprise": Prosody(88, 100, 170, 115, glide=0.45),
    "sadness": Prosody(22, 8, 135, 55, glide=-0.12),
    "anger": Prosody(38, 65, 215, 125, glide=-0.05, drive=6.0),
    "disgust": Prosody(12, 55, 140, 85, glide=-0.28, drive=2.0),
    "fear": Prosody(66, 12, 220, 65, tremor_hz=9.0),
}


def varied(prosody: Prosody, random: Random, strength: float) -> Prosody:
    """The prosody of one speaker: `strength` 1 is the emotion as listed, 0 is neutral; every number gets a small jitter."""
    plain = PROSODY["neutral"]
    mixed = [low + strength * (high - low) for low, high in zip(plain, prosody, strict=True)]
    pitch, pitch_range, rate, volume, *contour = mixed
    return Prosody(
        _between(pitch + random.gauss(0, 4), 0, 99),
        _between(pitch_range + random.gauss(0, 5), 0, 99),
        _between(rate * random.gauss(1, 0.04), 90, 400),
        _between(volume * random.gauss(1, 0.08), 20, 150),
        *contour,
    )


def speak(text: str, voice: str, prosody: Prosody, language: str = "id") -> Waveform:
    """`text` in espeak-ng's `language` by a variant such as 'm3' or 'f2', mono at RATE_HZ; empty if nothing is pronounceable."""
    espeak = _espeak()
    if voice not in espeak.variants:
        raise ConfigError(f"unknown voice {voice!r}; {near(voice, espeak.variants)}")
    return _shaped(espeak.speak(text, f"{language}+{voice}", prosody), prosody)


class _Espeak:
    """The library, loaded again for every text: it keeps the phase of its flutter from text to text, which would make
    a clip depend on those before it. Its breath noise cannot be reset, so no voice with breath is used."""

    def __init__(self, library_path: str, data: Path) -> None:
        self.library_path, self.data = library_path, data
        self.variants = frozenset(path.name for path in (data / "voices" / "!v").glob("*"))
        self.pieces: list[Waveform] = []
        self.callback = _CALLBACK(self._collect)  # kept here: ctypes does not keep it alive

    def speak(self, text: str, voice: str, prosody: Prosody) -> Waveform:
        """The samples as espeak-ng makes them."""
        library = ctypes.CDLL(self.library_path)
        try:
            return self._speak(library, text.replace("\0", " ").encode() + b"\0", voice, prosody)
        finally:
            library.espeak_Terminate()
            _ctypes.dlclose(library._handle)

    def _speak(self, library: ctypes.CDLL, text: bytes, voice: str, prosody: Prosody) -> Waveform:
        if library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(self.data), _DO_NOT_EXIT) != RATE_HZ:
            raise ConfigError(f"espeak-ng did not start with its data in {self.data}; install the package espeakng-loader again")
        self.pieces.clear()
        library.espeak_SetSynthCallback(self.callback)
        library.espeak_SetVoiceByName(voice.encode())
        for parameter, value in ((_RATE, prosody.rate), (_VOLUME, prosody.volume), (_PITCH, prosody.pitch), (_RANGE, prosody.pitch_range)):
            library.espeak_SetParameter(parameter, round(value), 0)
        library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, _UTF8, None, None)
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.int16)

    def _collect(self, samples: Any, num_samples: int, _events: Any) -> int:
        if samples and num_samples > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, shape=(num_samples,)).copy())
        return 0  # continue


@functools.cache
def _espeak() -> _Espeak:
    try:
        import espeakng_loader
    except ImportError:
        raise MissingExtraError("espeakng-loader", "demo") from None
    return _Espeak(espeakng_loader.get_library_path(), _short_path(Path(espeakng_loader.get_data_path())))


def _short_path(data: Path) -> Path:
    """A link to espeak-ng's data if their path is long, because espeak-ng cuts a long path without an error."""
    if len(os.fsencode(data)) <= _LONGEST_DATA_PATH:
        return data
    place = Path(tempfile.mkdtemp(prefix="espeak-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    link = place / "espeak-ng-data"
    link.symlink_to(data)
    return link


def _shaped(samples: Waveform, prosody: Prosody) -> Waveform:
    """Apply the contours for which espeak-ng has no parameter: glide of pitch, harshness, tremor."""
    if samples.size < 2:
        return samples
    place = np.linspace(-0.5, 0.5, samples.size)
    speed = 1 + prosody.glide * place  # reading faster raises the pitch; the mean stays 1
    wave = np.interp(np.cumsum(speed) - speed[0], np.arange(samples.size), samples.astype(np.float64)) / 32768
    if prosody.drive > 0:
        pressed = np.tanh((1 + prosody.drive) * wave)
        wave = pressed * 1.2 * _loudness(wave) / max(_loudness(pressed), 1e-6)
    if prosody.tremor_hz > 0:
        wave *= 1 + 0.6 * np.sin(2 * np.pi * prosody.tremor_hz * np.arange(samples.size) / RATE_HZ)
    shaped: Waveform = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
    return shaped


def _loudness(wave: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(wave**2)))


def _between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
