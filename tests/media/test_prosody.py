"""Pitch, slope, energy and speaking rate of synthesised sounds whose values are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from omnimer_ray.media.prosody import measure

RATE = 16_000


def tone(hz: NDArray[np.float64], level: float = 0.5) -> NDArray[np.float32]:
    """A voice-like sound of this pitch at each sample: a fundamental and two overtones."""
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    return (level * (np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)) / 1.75).astype(np.float32)


@pytest.mark.parametrize("hz", [90.0, 150.0, 300.0])
def test_the_pitch_of_a_tone_is_found(hz: float) -> None:
    found = measure(tone(np.full(2 * RATE, hz)))
    assert found.level_hz == pytest.approx(hz, rel=0.02)
    assert found.slope == pytest.approx(0, abs=0.2)
    assert found.voiced_share > 0.9
    assert len(found.times) == len(found.f0_hz) == len(found.energy_db) == 201


@pytest.mark.parametrize("semitones", [6.0, -4.0])
def test_the_slope_of_a_rising_and_a_falling_pitch(semitones: float) -> None:
    hz = 180 * 2 ** (semitones * np.arange(2 * RATE) / RATE / 12)
    assert measure(tone(hz)).slope == pytest.approx(semitones, rel=0.1)


def test_twice_the_amplitude_is_six_decibels() -> None:
    hz = np.full(RATE, 200.0)
    assert measure(tone(hz, 0.5)).loudness_db - measure(tone(hz, 0.25)).loudness_db == pytest.approx(6.02, abs=0.1)


@pytest.mark.parametrize("per_second", [3, 5])
def test_syllables_are_counted_by_their_energy(per_second: int) -> None:
    seconds = np.arange(2 * RATE) / RATE
    envelope = 0.05 + 0.95 * np.sin(np.pi * per_second * seconds) ** 2
    found = measure((tone(np.full(2 * RATE, 160.0)) * envelope).astype(np.float32))
    assert found.syllables_per_sec == pytest.approx(per_second, rel=0.15)


@pytest.mark.parametrize("wave", [np.zeros(RATE), np.random.default_rng(0).normal(0, 0.1, RATE), np.zeros(10), np.zeros(0)])
def test_silence_noise_and_nothing_have_no_pitch(wave: NDArray[np.float64]) -> None:
    found = measure(wave.astype(np.float32))
    assert (found.level_hz, found.slope, found.syllables_per_sec) == (None, None, None)
    assert found.voiced_share < 0.05
    assert np.isfinite(found.loudness_db)
