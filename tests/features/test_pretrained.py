"""Pretrained encoders: resolved once, only kinds that are allowed, the states that transformers gives, and errors with the way out."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import small_encoders
import torch
import transformers
from making import clip, tiny_config

from omnimer_ray.config import MediaConfig
from omnimer_ray.corpora.clips import Clip, Corpus
from omnimer_ray.errors import ConfigError, MachineError
from omnimer_ray.feature_config import CHECKPOINT_VIEWS, Checkpoint, CheckpointKind, Feature
from omnimer_ray.features.locating import find_on_this_node, locate, resolved
from omnimer_ray.features.pretrained import encoder
from omnimer_ray.fusion_config import FusionConfig, Linear, late_fusion, on_features
from omnimer_ray.media.load import clip_wave, load_media
from omnimer_ray.planning.plan import make_run

MODALITIES = {"text": "text", "audio": "audio", "frames": "video"}


def feature(kind: str, folder: Path, **settings: Any) -> Feature:
    view = CHECKPOINT_VIEWS[kind]  # type: ignore[index]
    return Feature(encoder=Checkpoint(model=str(folder), **settings), view=view, media=None if view == "text" else MediaConfig())


def run_on(kind: str, folder: Path, **settings: Any) -> FusionConfig:
    one = feature(kind, folder, **settings)
    return on_features(tiny_config(), Linear(), {MODALITIES[one.view]: one})  # type: ignore[dict-item]


def settings_of(kind: str, folder: Path, **settings: Any) -> Checkpoint:
    (one,) = resolved(run_on(kind, folder, **settings), {}).features.values()  # type: ignore[attr-defined]
    assert isinstance(one.encoder, Checkpoint)
    return one.encoder


@pytest.mark.parametrize("kind", get_args(CheckpointKind))
def test_states_are_those_of_transformers(kind: CheckpointKind, corpus: Corpus, tmp_path: Path, shared_cache: Path) -> None:
    folder, one, media = small_encoders.write(kind, tmp_path / kind), corpus.clips[0], tiny_config().media
    layers = (-1,) if kind == "clip" else (1, 2)
    found = encoder(settings_of(kind, folder, layers=layers), folder, media, shared_cache, "cpu")(one)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        if kind == "clip":
            processor = transformers.CLIPImageProcessor.from_pretrained(folder)
            frames = load_media(one, media, shared_cache).frames
            vision = model.vision_model(**processor(images=list(frames), return_tensors="pt")).pooler_output
            expected = model.visual_projection(vision)
            assert len(found) == len(frames)
        else:
            words = CHECKPOINT_VIEWS[kind] == "text"
            inputs = (
                transformers.AutoTokenizer.from_pretrained(folder)(one.text, return_tensors="pt")
                if words
                else transformers.AutoFeatureExtractor.from_pretrained(folder)(
                    clip_wave(one, media), sampling_rate=16000, return_tensors="pt"
                )
            )
            states = model(**inputs, output_hidden_states=True).hidden_states
            assert len(states) == 4  # of the embeddings, and after each of three layers
            expected = (states[1] + states[2])[0] / 2
    assert np.allclose(found, expected.numpy(), atol=1e-5)
    assert found.shape[1] == (12 if kind == "clip" else 16)


def test_a_long_transcript_is_cut(tmp_path: Path) -> None:
    folder = small_encoders.write("bert", tmp_path / "bert")
    encode = encoder(settings_of("bert", folder), folder, None, tmp_path, "cpu")
    assert encode(clip("a", text="ini kalimat " * 40)).shape == (32, 16)


def test_a_name_is_resolved_once_and_enters_no_key(tmp_path: Path) -> None:
    folder, known = small_encoders.write("bert", tmp_path / "bert"), {}  # type: ignore[var-annotated]
    late = late_fusion(one=run_on("bert", folder), two=run_on("bert", folder, layers=(0,)))
    found = resolved(late, known)
    (located,) = known.values()
    assert (located.name, located.kind, located.folder) == ("bert", "bert", folder)
    assert make_run(found).config.members["one"].features["text"].encoder.revision == located.revision  # type: ignore[attr-defined]
    renamed = folder.rename(tmp_path / "indobert")
    again = resolved(run_on("bert", renamed), {})
    mine = found.members["one"]  # type: ignore[attr-defined]
    assert make_run(again).signature == make_run(mine).signature
    assert again.features["text"].key == mine.features["text"].key  # type: ignore[attr-defined]
    other = resolved(run_on("bert", small_encoders.write("bert", tmp_path / "other", seed=1)), {})
    assert make_run(other).signature != make_run(mine).signature
    assert resolved(tiny_config(), {}) == tiny_config()


def test_a_model_of_the_hub_cache_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--org--bert" / "snapshots" / commit
    small_encoders.write("bert", snapshot)
    (tmp_path / "models--org--bert" / "refs").mkdir()
    (tmp_path / "models--org--bert" / "refs" / "main").write_text(commit)
    real = huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **named: real(*args, **{**named, "cache_dir": tmp_path}))
    located = locate("org/bert")
    assert (located.name, located.revision, located.folder) == ("org/bert", commit, snapshot)
    assert locate(f"org/bert@{commit}") == located
    assert find_on_this_node(located) == snapshot
    with pytest.raises(
        MachineError,
        match=f"encoder 'org/bert': commit {'f' * 40} is absent in the hub cache on .*; run `hf download org/bert --revision {'f' * 40}` there",
    ):
        find_on_this_node(located._replace(revision="f" * 40))


def test_other_contents_on_a_node_are_a_fault_of_the_machine(tmp_path: Path) -> None:
    located = locate(str(small_encoders.write("bert", tmp_path / "bert")))
    assert find_on_this_node(located) == located.folder
    (located.folder / "vocab.txt").write_text("other\n")
    with pytest.raises(
        MachineError, match=r"encoder 'bert': .* has contents with hash .*, and the plan was made for .*; copy the planned folder there"
    ):
        find_on_this_node(located)


def damage(folder: Path, how: str) -> None:
    """Make a checkpoint unusable."""
    weights = folder / "model.safetensors"
    match how:
        case "another type":
            (folder / "config.json").write_text(json.dumps({"model_type": "whisper"}))
        case "no type":
            (folder / "config.json").write_text("[]")
        case "pickled":
            weights.rename(folder / "pytorch_model.bin")
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-40])
        case "weights missing":
            from safetensors.torch import load_file, save_file

            save_file({name: value for name, value in load_file(weights).items() if "layer.2" not in name}, weights, {"format": "pt"})


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("another type", "is of type 'whisper'; allowed: hubert, wav2vec2, wavlm, bert, roberta, xlm-roberta, clip"),
        ("no type", "config.json cannot be read"),
        ("pickled", r"has no \*.safetensors, and other weights are not read; convert them with"),
        ("truncated", "cannot be loaded: .*; download it again"),
        ("weights missing", r"lacks 16 weights \(encoder.layer.2.*\); download it again"),
    ],
)
def test_a_folder_that_is_no_encoder_is_refused(how: str, text: str, tmp_path: Path) -> None:
    folder = small_encoders.write("bert", tmp_path / "bert")
    damage(folder, how)
    with pytest.raises(ConfigError, match=text):
        encoder(settings_of("bert", folder), folder, None, tmp_path, "cpu")


def test_what_an_encoder_cannot_give_is_refused(tmp_path: Path) -> None:
    folder = small_encoders.write("bert", tmp_path / "bert")
    with pytest.raises(ConfigError, match="encoder 'bert' has hidden states 0 to 3, and none of layer 4"):
        encoder(settings_of("bert", folder, layers=(4,)), folder, None, tmp_path, "cpu")
    with pytest.raises(ConfigError, match=r"encoder '.*/bert': as a whole: view 'audio' does not go with 'bert', which sees 'text'"):
        resolved(run_on("hubert", folder), {})
    clip_folder = small_encoders.write("clip", tmp_path / "clip")
    with pytest.raises(
        ConfigError, match=r"encoder '.*/clip': as a whole: layers \(1,\) do not go with 'clip', whose image vectors are taken"
    ):
        resolved(run_on("clip", clip_folder, layers=(1,)), {})
    with pytest.raises(
        ConfigError,
        match=r"encoder 'org/none' is neither a folder nor a model in this machine's hub cache; run `hf download org/none` on every machine, or give a folder",
    ):
        locate("org/none")


def test_sound_alone_has_the_states_that_it_has_after_another_clip(tmp_path: Path) -> None:
    folder = small_encoders.write("hubert", tmp_path / "hubert")
    encode = encoder(settings_of("hubert", folder), folder, MediaConfig(), tmp_path, "cpu")
    clips = [tone(tmp_path / f"{hertz}.wav", hertz) for hertz in (200, 300)]
    first = encode(clips[0])
    encode(clips[1])
    assert np.array_equal(encode(clips[0]), first)
    assert not np.array_equal(encode(clips[1]), first)


def tone(path: Path, hertz: int) -> Clip:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((8000 * np.sin(2 * np.pi * hertz * np.arange(8000) / 16000)).astype("<i2").tobytes())
    return clip(path.stem, audio_path=path)
