"""A stage's adapter is a plain PEFT folder and loads only into a model with the same LoRA."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import peft
import pytest
import short_training
import torch
from safetensors import safe_open
from short_training import Parts

from omnimer_ray.config import LoraConfig
from omnimer_ray.corpora.clips import Corpus
from omnimer_ray.errors import DivergedError, ResultsError
from omnimer_ray.model import adapters
from omnimer_ray.model.bases import Base
from omnimer_ray.model.dimensions import PLACEMENTS
from omnimer_ray.model.inputs import Encoder, collate
from omnimer_ray.model.lora import place_lora, trainable
from omnimer_ray.model.thinker import Thinker, load_thinker
from omnimer_ray.outputs import model_card
from omnimer_ray.planning.plan import make_run
from omnimer_ray.records import file_hash, write_json, write_record
from omnimer_ray.training.placement import Placement


def trained(thinker: Thinker, lora: LoraConfig, seed: int = 0) -> Any:
    """A PeftModel whose B is not zero."""
    model, _ = place_lora(thinker.model, lora, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in trainable(model).items():
            if "lora_B" in name:
                value.copy_(torch.empty(value.shape).normal_(0, 0.05, generator=generator))
    return model


def tensors(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().float().clone() for name, value in trainable(model).items()}


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_peft_loads_the_adapter_onto_the_plain_thinker(
    placement: Any, tiny: Thinker, fresh: Thinker, tiny_base: Any, encoder: Encoder, corpus: Corpus, tmp_path: Path
) -> None:
    model = trained(fresh, LoraConfig(placement=placement))
    adapters.save(model, tensors(model), tmp_path / "stage", tiny_base)
    loaded = peft.PeftModel.from_pretrained(load_thinker(tiny_base, "fp32").model, str(tmp_path / "stage"))
    inputs = collate([encoder.encode(clip, "emotion") for clip in corpus.clips[:3]], encoder.tokenizer.pad_token_id, "left")
    with torch.no_grad():
        logits = model(**inputs).logits
        assert torch.equal(loaded(**inputs).logits, logits)
        assert not torch.allclose(tiny.model(**inputs).logits, logits, atol=1e-3)


def test_the_code_in_the_model_card_loads_the_adapter(
    parts: Parts, tiny_base: Any, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model loaded by the card's code, with only transformers and PEFT, gives logits bit-equal to those of the project's own code."""
    finished, tensors, _ = short_training.train_stage(parts, Placement(4), tmp_path)
    model, encoder = short_training.adapted_thinker(parts)
    adapters.save(model, tensors, tmp_path, tiny_base)
    adapters.load(model, tmp_path)
    monkeypatch.chdir(tmp_path)
    loaded: dict[str, Any] = {}
    exec(model_card.loading(make_run(parts.recipe).stages[0], tiny_base), loaded)
    inputs = collate([encoder.encode(clip, "emotion") for clip in corpus.clips[:3]], encoder.tokenizer.pad_token_id, "left")
    with torch.no_grad():
        ours = model.eval()(**inputs).logits
        assert finished
        assert torch.equal(loaded["model"](**inputs).logits, ours)
        with loaded["model"].disable_adapter():
            assert not torch.allclose(loaded["model"](**inputs).logits, ours, atol=1e-3)
    assert loaded["processor"].tokenizer.get_vocab() == encoder.tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (Base("tiny", Path("/here/weights"), "beef", None), ("tiny", None)),
        (Base("my_omni", Path("/here/my_omni"), "beef", None), ("my_omni", None)),
        (Base("Qwen/Qwen2.5-Omni-7B", Path("/cache/snapshots/ae9e"), "ae9e", None), ("Qwen/Qwen2.5-Omni-7B", "ae9e")),
    ],
)
def test_the_config_names_the_base_without_a_local_path(
    base: Base, expected: tuple[str, str | None], fresh: Thinker, tmp_path: Path
) -> None:
    model = trained(fresh, LoraConfig())
    adapters.save(model, tensors(model), tmp_path, base)
    text = (tmp_path / "adapter_config.json").read_text()
    about = json.loads(text)
    assert (about["base_model_name_or_path"], about["revision"]) == expected
    assert "/here" not in text, "no local path is written"


def test_contents_of_an_adapter_folder(fresh: Thinker, tiny_base: Any, tmp_path: Path) -> None:
    model = trained(fresh, LoraConfig(rank=4, alpha=12))
    adapters.save(model, tensors(model), tmp_path / "stage", tiny_base)
    assert sorted(path.name for path in (tmp_path / "stage").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    about = json.loads((tmp_path / "stage" / "adapter_config.json").read_text())
    assert (about["r"], about["lora_alpha"], about["peft_type"], about["inference_mode"]) == (4, 12, "LORA", True)
    with safe_open(tmp_path / "stage" / adapters.WEIGHTS, framework="pt") as file:
        assert len(list(file.keys())) == len(trainable(model)) == 2 * (16 + 8)
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float32}  # noqa: SIM118  file is not a dict


def test_a_saved_adapter_is_loaded_exactly(fresh: Thinker, tiny_base: Any, tmp_path: Path) -> None:
    model = trained(fresh, LoraConfig())
    adapters.save(model, tensors(model), tmp_path, tiny_base)
    other = trained(load_thinker(tiny_base, "fp32"), LoraConfig(), seed=9)
    adapters.load(other, tmp_path)
    assert all(torch.equal(value, trainable(other)[name]) for name, value in trainable(model).items())


def test_the_adapter_of_a_bf16_base_is_fp32(tiny_base: Any, tmp_path: Path) -> None:
    model = trained(load_thinker(tiny_base, "bf16"), LoraConfig())
    assert {value.dtype for value in trainable(model).values()} == {torch.float32}
    adapters.save(model, tensors(model), tmp_path, tiny_base)
    again, _ = place_lora(load_thinker(tiny_base, "bf16").model, LoraConfig(), seed=1)
    adapters.load(again, tmp_path)
    assert all(torch.equal(value, trainable(again)[name]) for name, value in trainable(model).items())


@pytest.mark.parametrize("other", [LoraConfig(rank=4), LoraConfig(placement="thinker"), LoraConfig(placement="all")])
def test_another_rank_or_placement_is_refused(other: LoraConfig, fresh: Thinker, tiny_base: Any, tmp_path: Path) -> None:
    model = trained(fresh, LoraConfig())
    adapters.save(model, tensors(model), tmp_path, tiny_base)
    target = trained(load_thinker(tiny_base, "fp32"), other)
    before = tensors(target)
    text = rf"^{tmp_path}/adapter_model.safetensors does not fit the run's LoRA: base_model\S+; it was made with another placement or rank$"
    with pytest.raises(ResultsError, match=text):
        adapters.load(target, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in tensors(target).items())


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_value_that_is_not_finite_is_never_saved(value: float, fresh: Thinker, tiny_base: Any, tmp_path: Path) -> None:
    model = trained(fresh, LoraConfig())
    values = tensors(model)
    name = sorted(values)[3]
    values[name][0, 0] = value
    with pytest.raises(DivergedError, match=rf"^{re.escape(name)} is not finite after training; try a smaller optimizer.learning_rate$"):
        adapters.save(model, values, tmp_path, tiny_base)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["absent", "cut"])
def test_the_error_names_a_damaged_adapter(damage: str, fresh: Thinker, tiny_base: Any, tmp_path: Path) -> None:
    model = trained(fresh, LoraConfig())
    adapters.save(model, tensors(model), tmp_path, tiny_base)
    path = tmp_path / adapters.WEIGHTS
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ResultsError, match=rf"^{path} cannot be read \(.*\); remove {tmp_path}, and the same command makes it again$"):
        adapters.load(model, tmp_path)


@pytest.mark.parametrize("where", [-5, -4000, 3000])
def test_a_flipped_byte_is_found_by_the_recorded_hash(where: int, fresh: Thinker, tiny_base: Any, tmp_path: Path) -> None:
    model = trained(fresh, LoraConfig())
    adapters.save(model, tensors(model), tmp_path, tiny_base)
    write_record(tmp_path, {"outcome": "done"})
    adapters.load(model, tmp_path)
    path = tmp_path / adapters.WEIGHTS
    recorded = file_hash(path)
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
    before = tensors(model)
    with pytest.raises(ResultsError) as caught:
        adapters.load(model, tmp_path)
    assert str(caught.value) == (
        f"{path} is damaged: its hash is {file_hash(path)}, and {recorded} in the record beside it; "
        f"remove {tmp_path}, and the same command makes it again"
    )
    assert all(torch.equal(value, before[name]) for name, value in tensors(model).items())


def test_an_adapter_with_a_record_without_hashes_is_loaded(fresh: Thinker, tiny_base: Any, tmp_path: Path) -> None:
    model = trained(fresh, LoraConfig())
    adapters.save(model, tensors(model), tmp_path, tiny_base)
    write_json(tmp_path / "record.json", {"outcome": "done"})
    adapters.load(model, tmp_path)
