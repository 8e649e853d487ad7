"""A base is found by name, folder or hub name; what is no Qwen2.5-Omni checkpoint is said before anything is loaded."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omnimer_ray.bases import TINY_FOLDER, locate
from omnimer_ray.errors import BaseModelError, MissingExtraError

HUB_NAME = "Qwen/Qwen2.5-Omni-7B"
FILES = {
    "config.json": '{"model_type": "qwen2_5_omni", "thinker_config": {"text_config": {"hidden_size": 3584}}}',
    "tokenizer_config.json": "{}",
    "preprocessor_config.json": "{}",
    "model-00001-of-00002.safetensors": "weights",
    "model-00002-of-00002.safetensors": "more weights",
}


@pytest.fixture(autouse=True)
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test asks a hub, or uses somebody's caches."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def no_network(*args: Any, **named: Any) -> None:
        raise ConnectionError("no network in tests")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)


def checkpoint(folder: Path, **changes: str | None) -> Path:
    """A folder with the files of a checkpoint; `config_json=None` leaves one out."""
    folder.mkdir(parents=True)
    for name, text in {**FILES, **{name.replace("_json", ".json"): text for name, text in changes.items()}}.items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


def test_the_tiny_base_comes_with_the_package() -> None:
    base = locate("tiny")
    assert (base.name, base.folder) == ("tiny", TINY_FOLDER)
    assert base.stand_in is not None
    assert base.width == 128
    assert locate("tiny").revision == base.revision


def test_a_full_models_config_tells_the_width_of_its_thinker(tmp_path: Path) -> None:
    assert locate(str(checkpoint(tmp_path / "mine"))).width == 3584


def test_a_config_without_the_thinkers_width_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", config_json='{"model_type": "qwen2_5_omni", "thinker_config": {}}')
    with pytest.raises(BaseModelError, match=r"gives no text_config\.hidden_size of its Thinker; download the checkpoint again"):
        locate(str(folder))


def test_a_folder_is_known_by_its_contents(tmp_path: Path) -> None:
    one, other = (locate(str(checkpoint(tmp_path / place / "mine"))) for place in ("a", "b"))
    assert one.config() == other.config()
    assert one.source == str(tmp_path / "a" / "mine")
    (tmp_path / "b" / "mine" / "model-00002-of-00002.safetensors").write_text("other weights")
    assert locate(str(tmp_path / "b" / "mine")).revision != one.revision
    (tmp_path / "a" / "mine" / "notes.md").write_text("no part of it")
    assert locate(str(tmp_path / "a" / "mine")).revision == one.revision


def test_weights_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoint(tmp_path / "mine")
    revision = locate(str(folder)).revision

    def read_again(path: Path) -> str:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr("omnimer_ray.corpora.files._sha256", read_again)
    assert locate(str(folder)).revision == revision


@pytest.mark.parametrize("processor", ["preprocessor_config.json", "processor_config.json"])
def test_both_layouts_of_a_processor_are_known(tmp_path: Path, processor: str) -> None:
    folder = checkpoint(tmp_path / "mine", preprocessor_config_json=None)
    (folder / processor).write_text("{}")
    assert locate(str(folder)).folder == folder


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"config_json": None}, "{folder}/config.json is missing; give a folder with a Qwen2.5-Omni checkpoint"),
        ({"config_json": "{"}, "{folder}/config.json cannot be read ({folder}/config.json is not valid JSON"),
        ({"tokenizer_config_json": None}, "{folder} lacks tokenizer_config.json; download the checkpoint again"),
        ({"preprocessor_config_json": None}, "{folder} lacks preprocessor_config.json or processor_config.json; download"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path, changes: dict[str, str | None], text: str) -> None:
    folder = checkpoint(tmp_path / "mine", **changes)
    with pytest.raises(BaseModelError) as raised:
        locate(str(folder))
    assert str(raised.value).startswith(f"base {str(folder)!r}: " + text.format(folder=folder))


@pytest.mark.parametrize(("config", "kind"), [({"model_type": "llama"}, "'llama'"), ({}, "None"), ([], "None"), (7, "None")])
def test_a_checkpoint_of_another_model_is_named(tmp_path: Path, config: Any, kind: str) -> None:
    folder = checkpoint(tmp_path / "mine", config_json=json.dumps(config))
    with pytest.raises(BaseModelError) as raised:
        locate(str(folder))
    assert str(raised.value) == (
        f"base {str(folder)!r} is a checkpoint of type {kind}, not Qwen2.5-Omni (qwen2_5_omni or qwen2_5_omni_thinker); "
        "bases: 'tiny', Qwen/Qwen2.5-Omni-7B, Qwen/Qwen2.5-Omni-3B"
    )


def test_pickled_weights_are_not_taken(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine")
    for file in folder.glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(BaseModelError, match=r"lacks \*\.safetensors \(weights are read from safetensors only\); download"):
        locate(str(folder))


@pytest.mark.parametrize("name", ["tinny", "no/such/folder", "./mine", "/mine", "~/mine"])
def test_a_name_that_is_nothing_lists_the_near_ones(name: str) -> None:
    with pytest.raises(BaseModelError) as raised:
        locate(name)
    assert str(raised.value).startswith(f"base {name!r} is neither 'tiny', nor a folder, nor a hub name like 'Qwen/Qwen2.5-Omni-7B'; ")
    assert ("did you mean 'tiny'?" in str(raised.value)) == (name == "tinny")


def test_a_hub_name_is_found_in_the_hub_cache(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--Qwen--Qwen2.5-Omni-7B"
    folder = checkpoint(repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123\n")
    base = locate(HUB_NAME)
    assert (base.name, base.revision, base.source) == (HUB_NAME, "abc123", str(folder))
    assert base.config().name == "Qwen2.5-Omni-7B"
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BaseModelError, match="is a checkpoint of type 'bert'"):
        locate(HUB_NAME)


def test_a_hub_name_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError) as raised:
        locate("Qwen/Qwen2.5-Omni-8B")
    assert str(raised.value) == (
        f"base 'Qwen/Qwen2.5-Omni-8B' is not in the hub cache {tmp_path / 'hub'}, and the hub did not give it (ConnectionError); "
        "run `hf download Qwen/Qwen2.5-Omni-8B` where there is a network, or give a folder; "
        "did you mean 'Qwen/Qwen2.5-Omni-7B' or 'Qwen/Qwen2.5-Omni-3B'?"
    )


def test_a_known_hub_name_that_cannot_be_had_is_not_proposed_again(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError) as raised:
        locate(HUB_NAME)
    assert str(raised.value).endswith(f"; run `hf download {HUB_NAME}` where there is a network, or give a folder")


@pytest.mark.parametrize("config", [{"model_type": "qwen2_5_omni"}, None])
def test_the_hub_says_the_revision(monkeypatch: pytest.MonkeyPatch, config: dict[str, str] | None) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, name, timeout: SimpleNamespace(sha="f00d", config=config))
    base = locate(HUB_NAME)
    assert (base.folder, base.revision, base.source) == (None, "f00d", HUB_NAME)


def test_the_hub_says_the_type(monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(sha="f00d", config={"model_type": "llama"})
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, name, timeout: info)
    with pytest.raises(BaseModelError, match=r"^base 'some/llama' is a checkpoint of type 'llama', not Qwen2\.5-Omni"):
        locate("some/llama")


def test_without_the_hubs_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"^package 'huggingface-hub' is not installed; it comes with the extra 'train'"):
        locate(HUB_NAME)
