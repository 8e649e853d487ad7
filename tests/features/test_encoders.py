"""Features are what they say: the states that the language model receives or makes, n-grams of the words, measured prosody."""

from __future__ import annotations

import importlib.util
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from making import clip, tiny_config

from omnimer_ray.config import MediaConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import MachineError, MediaError, MissingExtraError
from omnimer_ray.feature_config import CharNgrams, Feature, Smile
from omnimer_ray.features.locating import resolved
from omnimer_ray.features.measured import char_ngrams, prosody, smile
from omnimer_ray.features.towers import states
from omnimer_ray.fusion_config import Linear, on_features
from omnimer_ray.model.bases import Base
from omnimer_ray.model.inputs import Encoder
from omnimer_ray.model.thinker import Thinker, load_thinker


def spoken(folder: Path, samples: np.ndarray) -> Path:  # type: ignore[type-arg]
    path = folder / "sound.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32000).astype("<i2").tobytes())
    return path


def test_sound_and_pictures_are_the_tokens_that_the_language_model_receives(tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    one = corpus.clips[0]
    media, encoded = encoder.media_tensors(one), encoder.encode(one, "emotion")
    received: dict[str, torch.Tensor] = {}
    model = tiny.model.model
    handle = model.language_model.register_forward_pre_hook(lambda module, args, named: received.update(named), with_kwargs=True)
    with torch.no_grad():
        from omnimer_ray.model.inputs import collate

        model(**collate([encoded], encoder.tokenizer.pad_token_id, "left"), use_cache=False)
    handle.remove()
    embedded, ids = received["inputs_embeds"][0], encoded.input_ids
    for tower, token, number in (
        ("vision", tiny.processor.video_token, media.num_video_tokens),
        ("audio", tiny.processor.audio_token, media.num_audio_tokens),
    ):
        found = states(tower, tiny, encoder, one)  # type: ignore[arg-type]
        assert found.shape == (number, 128)
        expected = embedded[ids == encoder.tokenizer.convert_tokens_to_ids(token)]
        assert np.allclose(found, expected.numpy(), atol=1e-5)


def test_the_language_tower_has_a_state_of_each_token_of_the_transcript(tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    one = corpus.clips[0]
    found = states("language", tiny, encoder, one)
    assert found.shape == (len(encoder.tokenizer(one.text)["input_ids"]), 128)
    assert np.isfinite(found).all()
    assert np.array_equal(states("language", tiny, encoder, clip("x", text="")), np.zeros((1, 128)))


def test_states_of_a_bf16_base_keep_its_bits(tiny_base: Base, encoder: Encoder, corpus: Corpus) -> None:
    found = states("language", load_thinker(tiny_base, "bf16"), encoder, corpus.clips[0])
    assert found.dtype == np.uint16


def test_ngrams_tell_texts_apart_and_ignore_everything_else() -> None:
    settings = CharNgrams(size=64)
    found = char_ngrams(clip("a", text="senang sekali"), settings)
    assert found.shape == (1, 64)
    assert np.linalg.norm(found) == pytest.approx(1)
    assert np.array_equal(found, char_ngrams(clip("b", text="senang sekali", sentiment="positive"), settings))
    assert not np.array_equal(found, char_ngrams(clip("a", text="sedih sekali"), settings))


def test_prosody_of_a_tone_is_its_pitch(tmp_path: Path) -> None:
    times = np.arange(16000) / 16000
    path = spoken(tmp_path, 0.5 * np.sin(2 * np.pi * 200 * times))
    found = prosody(clip("a", audio_path=path), MediaConfig())
    voiced = found[:, 1] == 1
    assert found.shape[1] == 3
    assert voiced.mean() > 0.9
    assert np.median(found[voiced, 0]) == pytest.approx(12, abs=0.1)  # an octave over 100 Hz
    assert np.median(found[:, 2]) == pytest.approx(20 * np.log10(0.5 / 2**0.5), abs=0.2)


def test_prosody_of_a_clip_without_sound_is_that_of_silence(tmp_path: Path) -> None:
    found = prosody(clip("a", tracks=("video",)), MediaConfig())
    assert (found[:, :2] == 0).all()
    path = tmp_path / "broken.wav"
    path.write_bytes(b"nonsense")
    with pytest.raises(MediaError, match=r"a: .*broken.wav.*, or list the clip under 'exclude'"):
        prosody(clip("a", audio_path=path), MediaConfig())
    with pytest.raises((MachineError, MediaError), match=r"a: .*gone.wav"):
        prosody(clip("a", audio_path=tmp_path / "gone.wav"), MediaConfig())


def test_opensmile_gives_gemaps_of_a_tone(tmp_path: Path) -> None:
    pytest.importorskip("opensmile")
    path = spoken(tmp_path, 0.5 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000))
    found = smile(clip("a", audio_path=path), Smile(), MediaConfig())
    assert found.shape == (96, 18)
    assert np.median(found[:, 5]) == pytest.approx(12 * np.log2(200 / 27.5), abs=0.1)  # pitch in semitones over 27.5 Hz


def test_without_opensmile_the_extra_is_named_before_any_worker_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    recipe = tiny_config()
    feature = Feature(encoder=Smile(), view="audio", media=recipe.media)
    with pytest.raises(MissingExtraError, match="package 'opensmile' is not installed; it comes with the extra 'smile'"):
        resolved(on_features(recipe, Linear(), {"audio": feature}), {})
    with pytest.raises(MissingExtraError, match="the extra 'smile'"):
        smile(clip("a"), Smile(), recipe.media)
