"""Prosody of a waveform, measured: pitch by YIN (librosa), energy and speaking rate. Times in seconds, one value every 10 ms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnimer_ray.media.decode import SAMPLE_RATE_HZ

LOWEST_HZ, HIGHEST_HZ = 65.0, 500.0  # of speech
FRAME, HOP = 1024, 160  # samples
QUIET_DB = 35.0  # below the loudest frame: no speech
SILENCE_DB = -60.0  # of full scale: quieter than the noise of any microphone
CLEAR = 0.5  # normalised autocorrelation at the pitch period of a voiced frame
SHORTEST_FRAMES = 5  # of a voiced part
SYLLABLE_SEC, PROMINENCE_DB = 0.12, 3.0  # least distance and height of two energy peaks that are two syllables


class Prosody(NamedTuple):
    """Measurements of one clip; None where nothing is voiced."""

    times: NDArray[np.float64]  # (N,)
    f0_hz: NDArray[np.float64]  # (N,), NaN in frames that are not voiced
    energy_db: NDArray[np.float64]  # (N,) of full scale
    level_hz: float | None  # median pitch
    slope: float | None  # of the pitch over the clip, semitones per second
    loudness_db: float  # median energy of the frames with speech
    syllables_per_sec: float | None  # of the time with speech
    voiced_share: float


def measure(wave: NDArray[np.float32]) -> Prosody:
    """Measure a mono 16 kHz waveform of any length."""
    import librosa
    from scipy.ndimage import binary_opening
    from scipy.signal import find_peaks

    padded = np.pad(np.asarray(wave, np.float64), (0, max(0, FRAME - len(wave))))
    rms = librosa.feature.rms(y=padded, frame_length=FRAME, hop_length=HOP)[0]
    energy = 20 * np.log10(np.maximum(rms, 1e-6))
    times = np.arange(len(energy)) * HOP / SAMPLE_RATE_HZ
    speech = energy > max(float(energy.max()) - QUIET_DB, SILENCE_DB)
    found = librosa.yin(padded, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=SAMPLE_RATE_HZ, frame_length=FRAME, hop_length=HOP)
    voiced = binary_opening(
        speech & (_clarity(padded, found) > CLEAR) & (found > LOWEST_HZ) & (found < HIGHEST_HZ), np.ones(SHORTEST_FRAMES)
    )
    f0 = np.where(voiced, found, np.nan)
    level = slope = rate = None
    if voiced.sum() >= 5:
        level = float(np.median(found[voiced]))
        slope = float(np.polyfit(times[voiced], 12 * np.log2(found[voiced] / level), 1)[0])
        smooth = np.convolve(np.pad(energy, 4, mode="edge"), np.ones(9) / 9, mode="valid")
        peaks, _ = find_peaks(smooth, distance=round(SYLLABLE_SEC * SAMPLE_RATE_HZ / HOP), prominence=PROMINENCE_DB)
        rate = max(1, int(voiced[peaks].sum())) / (speech.sum() * HOP / SAMPLE_RATE_HZ)
    loudness = float(np.median(energy[speech])) if speech.any() else float(energy.max())
    return Prosody(times, f0, energy, level, slope, loudness, rate, float(voiced.mean()))


def _clarity(wave: NDArray[np.float64], f0: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normalised autocorrelation of each frame at its pitch period, (N,); frames are centred, as librosa's."""
    padded = np.pad(wave, FRAME // 2 + FRAME)
    values = np.zeros(len(f0))
    for frame, hz in enumerate(f0):
        lag = round(SAMPLE_RATE_HZ / hz)
        start = FRAME + frame * HOP
        one, other = padded[start : start + FRAME], padded[start + lag : start + lag + FRAME]
        values[frame] = one @ other / max(1e-12, float(np.sqrt((one @ one) * (other @ other))))
    return values
