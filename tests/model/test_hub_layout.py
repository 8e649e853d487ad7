"""A checkpoint in the hub's layout loads as the same model; damaged checkpoints are refused with the name of the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_layout import TALKER_SHARD, Layout, write_hub_checkpoint
from safetensors.torch import load_file, save_file
from small_hub import cached, serving
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from omnimer_ray.config import ThinkerConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import BaseModelError, MachineError
from omnimer_ray.model.bases import locate
from omnimer_ray.model.generation import generate
from omnimer_ray.model.inputs import Encoder, collate
from omnimer_ray.model.thinker import Thinker, load_thinker

ONE, TWO = "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors"
Q_PROJ = "thinker.audio_tower.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def hub(tiny: Thinker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hub_checkpoint(tiny, tmp_path_factory.mktemp("hub") / "Small-Omni")


@pytest.fixture
def damaged(hub: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to damage."""
    return Path(shutil.copytree(hub, tmp_path / "Small-Omni"))


@pytest.mark.parametrize("layout", ["before 5.21", "since 5.21"])
def test_both_layouts_load_as_the_tiny_thinker(
    layout: Layout, tiny: Thinker, encoder: Encoder, corpus: Corpus, recipe: ThinkerConfig, shared_cache: Path, tmp_path: Path
) -> None:
    base = locate(str(write_hub_checkpoint(tiny, tmp_path / "Small-Omni", layout)))
    assert (base.name, base.stand_in) == ("Small-Omni", None)
    loaded = load_thinker(base, "fp32")
    loaded_encoder = Encoder(loaded.processor, recipe, shared_cache)
    prompts, ours = ([one.encode(clip, "emotion") for clip in corpus.clips[:3]] for one in (loaded_encoder, encoder))
    inputs, expected = (collate(items, encoder.tokenizer.pad_token_id, "left") for items in (prompts, ours))
    assert all(torch.equal(inputs[name], expected[name]) for name in expected)
    with torch.no_grad():
        assert torch.equal(loaded.model(**inputs).logits, tiny.model(**expected).logits)
    assert generate(loaded, loaded_encoder, prompts, 24) == generate(tiny, encoder, ours, 24)
    assert all(torch.equal(value, tiny.model.state_dict()[name]) for name, value in loaded.model.state_dict().items())


def test_the_talker_is_not_loaded(hub: Path) -> None:
    model = load_thinker(locate(str(hub)), "fp32").model
    assert not [name for name, _ in model.named_modules() if "talker" in name or "token2wav" in name]
    weights = json.loads((hub / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(model.state_dict()) == sum(name.startswith("thinker.") for name in weights) < len(weights)


def test_a_bf16_base_is_loaded_in_bf16_and_frozen(hub: Path) -> None:
    model = load_thinker(locate(str(hub)), "bf16").model
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    assert not any(value.requires_grad for value in model.parameters())


def test_decoding_is_greedy_for_any_generation_config(damaged: Path, tiny: Thinker, encoder: Encoder, corpus: Corpus) -> None:
    settings = {"do_sample": True, "temperature": 0.3, "repetition_penalty": 3.0, "no_repeat_ngram_size": 2, "eos_token_id": [5]}
    (damaged / "generation_config.json").write_text(json.dumps(settings))
    loaded = load_thinker(locate(str(damaged)), "fp32")
    prompts = [encoder.encode(clip, "prosody") for clip in corpus.clips[:3]]
    assert generate(loaded, encoder, prompts, 24) == generate(tiny, encoder, prompts, 24)


def edit(folder: Path, name: str, change: Callable[[Any], object]) -> None:
    data = json.loads((folder / name).read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / ONE)
    change(weights)
    save_file(weights, folder / ONE, metadata={"format": "pt"})


def only_pickles(folder: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes((folder / "spk_dict.pt").read_bytes())


def no_vocabulary(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink()


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda f: (f / TWO).write_bytes((f / TWO).read_bytes()[:-999]),
        f"{TWO} is not a complete safetensors file (*); download it again",
    ),
    "an HTML page": (lambda f: (f / TWO).write_text("<html>404"), f"{TWO} is not a complete safetensors file (*); download it again"),
    "shard missing": (lambda f: (f / TWO).unlink(), f"Small-Omni lacks {TWO}; download the checkpoint again"),
    "talker's shard missing": (lambda f: (f / TALKER_SHARD).unlink(), f"Small-Omni lacks {TALKER_SHARD}; download the checkpoint again"),
    "shard elsewhere": (
        lambda f: edit(f, "model.safetensors.index.json", lambda index: index["weight_map"].update({Q_PROJ: f"../{f.name}/{TWO}"})),
        f"Small-Omni lacks ../Small-Omni/{TWO}; download the checkpoint again",
    ),
    "broken index": (
        lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {'),
        "index.json is not a weight index (*); download it again",
    ),
    "another index": (
        lambda f: (f / "model.safetensors.index.json").write_text('{"weights": {}}'),
        "index.json is not a weight index ('weight_map'); download it again",
    ),
    "weight missing": (
        lambda f: edit_weights(f, lambda w: w.pop(Q_PROJ)),
        "has wrong weights: 1 missing (model.audio_tower.layers.0.self_attn.q_proj.weight); download the checkpoint again",
    ),
    "another shape": (
        lambda f: edit_weights(f, lambda w: w.update({Q_PROJ: torch.zeros(3, 5)})),
        "1 of another shape (model.audio_tower.layers.0.self_attn.q_proj.weight: (3, 5) where (64, 64) is needed)",
    ),
    "unexpected weight": (
        lambda f: edit_weights(f, lambda w: w.update({"thinker.audio_tower.layers.7.fc1.weight": torch.zeros(3)})),
        "has wrong weights: 1 unexpected (model.audio_tower.layers.7.fc1.weight); download the checkpoint again",
    ),
    "pickles only": (only_pickles, "lacks [*].safetensors (weights are read from safetensors only); download the checkpoint again"),
    "no Thinker in the config": (
        lambda f: edit(f, "config.json", lambda config: config.pop("thinker_config")),
        "config.json has no text_config.hidden_size for the Thinker; download the checkpoint again",
    ),
    "another width": (
        lambda f: edit(f, "config.json", lambda config: config["thinker_config"]["text_config"].update(hidden_size=64)),
        "* of another shape (lm_head.weight: (*, 128) where (*, 64) is needed)",
    ),
    "no template": (
        lambda f: (f / "chat_template.json").unlink(),
        "'Small-Omni' has no chat template; download its chat_template.json, or chat_template.jinja",
    ),
    "no vocabulary": (
        no_vocabulary,
        "<|VIDEO|> is token * of its tokenizer, but token * in its config.json; download the checkpoint again",
    ),
    "no processor's tokens": (
        lambda f: edit(f, "tokenizer_config.json", lambda settings: settings.pop("extra_special_tokens")),
        "cannot be loaded: Qwen2Tokenizer has no attribute image_token; download the checkpoint again",
    ),
    "broken tokenizer": (
        lambda f: (f / "tokenizer.json").write_text('{"model'),
        "cannot be loaded: Unterminated string starting at: line 1 column 2 (char 1); download the checkpoint again",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_checkpoint_is_refused(case: str, damaged: Path) -> None:
    damage, text = DAMAGED[case]
    damage(damaged)
    with pytest.raises(BaseModelError) as caught:
        load_thinker(locate(str(damaged)), "fp32")
    assert fnmatchcase(str(caught.value), f"*{text}*")


def test_weights_that_changed_since_the_plan_are_a_machine_fault(damaged: Path) -> None:
    """The hash is compared before loading, because changed weights may load without an error."""
    base = locate(str(damaged))
    edit_weights(damaged, lambda weights: weights[Q_PROJ].neg_())
    with pytest.raises(MachineError, match=r"has contents with hash .*, and the plan was made for"):
        load_thinker(base, "fp32")


def test_a_disk_that_fails_while_weights_are_read_is_a_machine_fault(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = locate(str(damaged))

    def fail_as_unmounted(path: Path, **named: object) -> None:
        shutil.rmtree(damaged)
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("omnimer_ray.model.thinker.safe_open", fail_as_unmounted)
    with pytest.raises(MachineError, match=r"Small-Omni cannot be read on .* \(No such file or directory\); mount or copy it there"):
        load_thinker(base, "fp32")


def test_a_broken_file_in_a_hub_cache_is_a_machine_fault(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    truncated = cached(tmp_path, "small/omni", hub) / TWO
    base = locate("small/omni")
    truncated.write_bytes(truncated.read_bytes()[:-999])
    with pytest.raises(
        MachineError, match=rf"{TWO} is not a complete safetensors file .*; download it again, on .*: `hf download small/omni --rev"
    ):
        load_thinker(base, "fp32")


def test_a_commit_that_is_not_in_the_cache_is_downloaded_and_loaded(
    hub: Path, tiny: Thinker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with serving(monkeypatch, "small/omni", hub):
        loaded = load_thinker(locate("small/omni"), "fp32")
    assert all(torch.equal(value, tiny.model.state_dict()[name]) for name, value in loaded.model.state_dict().items())


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")]
)
def test_out_of_memory_while_loading_is_not_a_fault_of_the_base(error: RuntimeError, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_error(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(Qwen2_5OmniThinkerForConditionalGeneration, "from_pretrained", raise_error)
    with pytest.raises(type(error)) as raised:
        load_thinker(locate(str(hub)), "fp32")
    assert raised.value is error


def test_weights_are_loaded_directly_onto_the_device(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` replaces a GPU: the weights are on that device when transformers returns the model."""
    original, devices = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained, set()

    def recording(*arguments: Any, **named: Any) -> Any:
        model, report = original(*arguments, **named)
        devices.update(value.device.type for value in model.parameters())
        return model, report

    monkeypatch.setattr(Qwen2_5OmniThinkerForConditionalGeneration, "from_pretrained", recording)
    load_thinker(locate(str(hub)), "fp32", "meta")
    assert devices == {"meta"}
