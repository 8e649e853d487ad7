"""Voices sound different, prosody follows the emotion, and what is missing is named."""

import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest

from omnimer_ray.corpora.generated import speech
from omnimer_ray.corpora.generated.mini import VOICES
from omnimer_ray.errors import ConfigError, MissingExtraError

TEXT = "Nah kami lagi membaca resep ini."


def pitch_hz(samples: speech.Waveform) -> float:
    """Median over voiced pieces of the strongest autocorrelation between 60 and 400 Hz."""
    found = []
    for start in range(0, samples.size - 1024, 512):
        piece = samples[start : start + 1024].astype(float)
        piece -= piece.mean()
        if piece.std() > 200:
            correlation = np.correlate(piece, piece, "full")[1023:]
            lags = correlation[speech.RATE_HZ // 400 : speech.RATE_HZ // 60]
            found.append(speech.RATE_HZ / (speech.RATE_HZ // 400 + lags.argmax()))
    return float(np.median(found))


def test_all_voices_differ_and_half_are_high() -> None:
    waveforms = {voice: speech.speak(TEXT, voice, speech.PROSODY["neutral"]) for voices in VOICES.values() for voice in voices}
    assert len({samples.tobytes() for samples in waveforms.values()}) == len(waveforms) == 20
    for voices in VOICES.values():
        high = [voice for voice in voices if pitch_hz(waveforms[voice]) > 140]
        assert len(high) == 5


def test_prosody_follows_the_emotion() -> None:
    waveforms = {emotion: speech.speak(TEXT, "m1", prosody) for emotion, prosody in speech.PROSODY.items()}
    length = {emotion: samples.size for emotion, samples in waveforms.items()}
    loudness = {emotion: float(np.sqrt(np.mean(samples.astype(float) ** 2))) for emotion, samples in waveforms.items()}
    pitch = {emotion: pitch_hz(samples) for emotion, samples in waveforms.items()}
    assert length["sadness"] > length["neutral"] > length["happiness"]
    assert loudness["sadness"] < loudness["neutral"] < loudness["anger"]
    assert pitch["sadness"] < pitch["neutral"] < pitch["happiness"] < pitch["surprise"]


def test_varied_is_neutral_at_no_strength_and_stays_speakable() -> None:
    prosody = speech.varied(speech.PROSODY["fear"], Random(0), 0.0)
    assert abs(prosody.pitch - speech.PROSODY["neutral"].pitch) < 20
    assert prosody.tremor_hz == 0
    for seed in range(50):
        strong = speech.varied(speech.PROSODY["disgust"], Random(seed), 1.15)
        assert 0 <= strong.pitch <= 99
        assert 90 <= strong.rate <= 400


def test_equal_texts_give_equal_samples_after_any_other_text() -> None:
    cases = [(voice, emotion) for voices in VOICES.values() for voice in voices for emotion in ("neutral", "surprise")]
    waveforms = {case: speech.speak(TEXT, case[0], speech.PROSODY[case[1]]) for case in cases}
    for voice, emotion in Random(0).sample(cases, len(cases)):
        assert np.array_equal(waveforms[voice, emotion], speech.speak(TEXT, voice, speech.PROSODY[emotion])), voice


def test_nothing_to_pronounce_is_short_or_empty() -> None:
    assert speech.speak("", "m1", speech.PROSODY["neutral"]).size < speech.RATE_HZ
    assert speech.speak("a\0b", "m1", speech.PROSODY["neutral"]).size > 0


def test_unknown_voice_names_the_near_one() -> None:
    with pytest.raises(ConfigError, match="unknown voice 'lindaa'; did you mean 'linda'"):
        speech.speak(TEXT, "lindaa", speech.PROSODY["neutral"])


def test_a_deep_environment_is_reached_through_a_link(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100) / ("y" * 60) / "espeak-ng-data"
    deep.mkdir(parents=True)
    short = speech._short_path(deep)
    assert len(str(short)) <= 120
    assert short.resolve() == deep
    assert speech._short_path(Path("/short")) == Path("/short")


def test_the_error_names_missing_data(tmp_path: Path) -> None:
    import espeakng_loader

    with pytest.raises(ConfigError, match=r"espeak-ng did not start with its data in .*; install the package espeakng-loader again"):
        speech._Espeak(espeakng_loader.get_library_path(), tmp_path).speak(TEXT, "id+m1", speech.PROSODY["neutral"])


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    speech._espeak.cache_clear()
    with pytest.raises(MissingExtraError, match=r"package 'espeakng-loader' is not installed; .* pip install 'omnimer-ray\[demo\]'"):
        speech.speak(TEXT, "m1", speech.PROSODY["neutral"])
    speech._espeak.cache_clear()
