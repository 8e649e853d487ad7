"""Resolving a base by name, folder or hub name; other checkpoints are refused before anything is loaded."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_hub import COMMIT, OTHER, cached, point_at, serving

from omnimer_ray.errors import BaseModelError, MachineError, MissingExtraError
from omnimer_ray.model.bases import TINY_FOLDER, Base, confirm, find_on_this_node, locate
from omnimer_ray.model.dimensions import HUB_SHAPES, read_shape

HUB_NAME = "Qwen/Qwen2.5-Omni-7B"
NODE = platform.node()
FILES = {
    "config.json": '{"model_type": "qwen2_5_omni", "thinker_config": {"text_config": {"hidden_size": 3584}}}',
    "tokenizer_config.json": "{}",
    "preprocessor_config.json": "{}",
    "model-00001-of-00002.safetensors": "weights",
    "model-00002-of-00002.safetensors": "more weights",
}


@pytest.fixture(autouse=True)
def no_hub_and_empty_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test connects to the hub or uses the caches of the user."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    point_at(monkeypatch, "http://127.0.0.1:9")  # nothing listens there


def checkpoint(folder: Path, **changes: str | None) -> Path:
    """A folder with the files of a checkpoint; `config_json=None` leaves one out."""
    folder.mkdir(parents=True)
    for name, text in {**FILES, **{name.replace("_json", ".json"): text for name, text in changes.items()}}.items():
        if text is not None:
            (folder / name).write_text(text)
    return folder


def test_the_tiny_base_is_part_of_the_package() -> None:
    base = locate("tiny")
    assert (base.name, base.folder) == ("tiny", TINY_FOLDER)
    assert base.stand_in is not None
    assert base.width == 128
    assert locate("tiny").revision == base.revision


def test_the_width_is_read_from_a_full_models_config(tmp_path: Path) -> None:
    assert locate(str(checkpoint(tmp_path / "mine"))).width == 3584


def test_a_config_without_the_thinkers_width_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", config_json='{"model_type": "qwen2_5_omni", "thinker_config": {}}')
    with pytest.raises(BaseModelError, match=r"has no text_config\.hidden_size for the Thinker; download the checkpoint again"):
        locate(str(folder))


def test_the_revision_of_a_folder_is_a_hash_of_its_contents(tmp_path: Path) -> None:
    one, other = (locate(str(checkpoint(tmp_path / place / "mine"))) for place in ("a", "b"))
    assert one.config() == other.config()
    assert one.folder == tmp_path / "a" / "mine"
    (tmp_path / "b" / "mine" / "model-00002-of-00002.safetensors").write_text("other weights")
    assert locate(str(tmp_path / "b" / "mine")).revision != one.revision
    (tmp_path / "a" / "mine" / "notes.md").write_text("not part of the checkpoint")
    assert locate(str(tmp_path / "a" / "mine")).revision == one.revision


def test_unchanged_weights_are_hashed_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnimer_ray.corpora.files.SETTLED_SEC", 0)
    folder = checkpoint(tmp_path / "mine")
    revision = locate(str(folder)).revision

    def fail(path: Path) -> str:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr("omnimer_ray.corpora.files._sha256", fail)
    assert locate(str(folder)).revision == revision


@pytest.mark.parametrize("processor", ["preprocessor_config.json", "processor_config.json"])
def test_both_file_names_of_a_processor_are_accepted(tmp_path: Path, processor: str) -> None:
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
def test_the_error_names_the_missing_or_broken_file_of_a_folder(tmp_path: Path, changes: dict[str, str | None], text: str) -> None:
    folder = checkpoint(tmp_path / "mine", **changes)
    with pytest.raises(BaseModelError) as raised:
        locate(str(folder))
    assert str(raised.value).startswith(f"base {str(folder)!r}: " + text.format(folder=folder))


@pytest.mark.parametrize(("config", "kind"), [({"model_type": "llama"}, "'llama'"), ({}, "None"), ([], "None"), (7, "None")])
def test_a_checkpoint_of_another_model_type_is_refused(tmp_path: Path, config: Any, kind: str) -> None:
    folder = checkpoint(tmp_path / "mine", config_json=json.dumps(config))
    with pytest.raises(BaseModelError) as raised:
        locate(str(folder))
    assert str(raised.value) == (
        f"base {str(folder)!r} is a checkpoint of type {kind}, not Qwen2.5-Omni (qwen2_5_omni or qwen2_5_omni_thinker); "
        "bases: 'tiny', Qwen/Qwen2.5-Omni-7B, Qwen/Qwen2.5-Omni-3B"
    )


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine")
    for file in folder.glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(BaseModelError, match=r"lacks \*\.safetensors \(weights are read from safetensors only\); download"):
        locate(str(folder))


@pytest.mark.parametrize("name", ["tinny", "no/such/folder", "./mine", "/mine", "~/mine", "Qwen/Qwen2.5-Omni-7B@", "tiny@" + COMMIT])
def test_an_unknown_name_is_refused_with_similar_names(name: str) -> None:
    with pytest.raises(BaseModelError) as raised:
        locate(name)
    assert str(raised.value).startswith(
        f"base {name!r} is neither 'tiny', nor a folder, nor a hub name like 'Qwen/Qwen2.5-Omni-7B' or NAME@COMMIT; "
    )
    assert ("did you mean 'tiny'?" in str(raised.value)) == (name == "tinny")


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """A folder with the files of a checkpoint."""
    return checkpoint(tmp_path / "complete")


def test_a_hub_name_is_resolved_from_the_hub_cache(tmp_path: Path, complete: Path) -> None:
    folder = cached(tmp_path / "hub", HUB_NAME, complete)
    base = locate(HUB_NAME)
    assert base == Base(HUB_NAME, folder, COMMIT, None, 3584)
    assert base.config().name == "Qwen2.5-Omni-7B"
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BaseModelError, match="is a checkpoint of type 'bert'"):
        locate(HUB_NAME)


@pytest.mark.parametrize(("variable", "below"), [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")])
def test_the_hub_cache_folder_follows_the_hub_clients_variables(variable: str, below: str, tmp_path: Path, complete: Path) -> None:
    """Tested in a new process, because the client reads its environment when it is imported."""
    folder = cached(tmp_path / "there" / below, HUB_NAME, complete)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    code = f"from omnimer_ray.model.bases import locate; print(locate({HUB_NAME!r}).folder)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env={**environment, variable: str(tmp_path / "there")})
    assert (result.stdout, result.stderr) == (f"{folder}\n", "")


def test_a_commit_can_be_given_with_the_name(tmp_path: Path, complete: Path) -> None:
    cached(tmp_path / "hub", HUB_NAME, complete, main=OTHER)
    base = locate(f"{HUB_NAME}@{COMMIT}")
    assert (base.name, base.revision, base.commit) == (HUB_NAME, COMMIT, COMMIT)


def test_a_hub_name_that_is_not_available_is_refused_with_the_download_command(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError) as raised:
        locate("Qwen/Qwen2.5-Omni-8B")
    assert str(raised.value) == (
        f"base 'Qwen/Qwen2.5-Omni-8B' is not in the hub cache {tmp_path / 'hub'} and could not be fetched from the hub (ConnectError); "
        "run `hf download Qwen/Qwen2.5-Omni-8B` with network access, or give a folder; "
        "did you mean 'Qwen/Qwen2.5-Omni-7B' or 'Qwen/Qwen2.5-Omni-3B'?"
    )
    with pytest.raises(BaseModelError) as raised:
        locate(f"{HUB_NAME}@{COMMIT}")
    assert str(raised.value) == (
        f"base '{HUB_NAME}' at {COMMIT} is not in the hub cache {tmp_path / 'hub'} and could not be fetched from the hub (ConnectError); "
        f"run `hf download {HUB_NAME} --revision {COMMIT}` with network access, or give a folder"
    )


def test_an_unavailable_hub_name_is_not_proposed_as_an_alternative_to_itself(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError) as raised:
        locate(HUB_NAME)
    assert str(raised.value).endswith(f"; run `hf download {HUB_NAME}` with network access, or give a folder")


def test_a_known_base_can_be_planned_with_before_it_is_downloaded() -> None:
    base = locate(HUB_NAME, to_plan=True)
    assert base == Base(HUB_NAME, None, "unknown until downloaded", None, 3584)
    assert base.shape == HUB_SHAPES[HUB_NAME]
    assert locate(f"{HUB_NAME}@{COMMIT}", to_plan=True).revision == COMMIT
    with pytest.raises(BaseModelError, match="could not be fetched from the hub"):
        locate("some/omni", to_plan=True)


def test_the_shape_of_a_base_that_is_here_is_read_from_it() -> None:
    assert locate("tiny").shape == read_shape(TINY_FOLDER)
    assert Base("some/omni", None, COMMIT, None).shape is None


@pytest.mark.parametrize(("name", "width"), [(HUB_NAME, 3584), ("Qwen/Qwen2.5-Omni-3B", 2048), ("some/omni", None)])
def test_the_commit_is_requested_from_the_hub(monkeypatch: pytest.MonkeyPatch, name: str, width: int | None, complete: Path) -> None:
    """The width of the two known bases follows from the name, without a download."""
    with serving(monkeypatch, name, complete):
        assert locate(name) == locate(f"{name}@{COMMIT}") == Base(name, None, COMMIT, None, width)


def test_a_base_downloaded_by_commit_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: Path) -> None:
    folder = cached(tmp_path / "hub", "some/omni", complete, main=None)
    with serving(monkeypatch, "some/omni", complete):
        assert locate("some/omni") == Base("some/omni", folder, COMMIT, None, 3584)


def test_a_model_of_another_type_on_the_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(sha="f00d", config={"model_type": "llama"})
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, name, revision, timeout: info)
    with pytest.raises(BaseModelError, match=r"^base 'some/llama' is a checkpoint of type 'llama', not Qwen2\.5-Omni"):
        locate("some/llama")


def test_without_the_hub_client_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"^package 'huggingface-hub' is not installed; it comes with the extra 'train'"):
        locate(HUB_NAME)


# On a worker's node


def test_tiny_and_a_folder_are_found_on_a_worker(complete: Path) -> None:
    for base in (locate("tiny"), locate(str(complete))):
        assert find_on_this_node(base) == base
    elsewhere = locate("tiny")._replace(folder=Path("/another/installation/weights"))
    assert find_on_this_node(elsewhere) == locate("tiny"), "tiny is taken from the package installed on the node"


def test_a_folder_named_tiny_is_not_the_tiny_base(tmp_path: Path) -> None:
    base = locate(str(checkpoint(tmp_path / "tiny")))
    assert (base.name, base.is_tiny, locate("tiny").is_tiny) == ("tiny", False, True)
    assert find_on_this_node(base).folder == tmp_path / "tiny"


def test_a_folder_overwritten_since_the_plan_is_a_machine_fault(complete: Path) -> None:
    base = locate(str(complete))
    weights = complete / "model-00002-of-00002.safetensors"
    before = weights.stat()
    weights.write_text("MORE WEIGHTS")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(MachineError) as raised:
        find_on_this_node(base)
    assert str(raised.value) == (
        f"base 'complete': {complete} on {NODE} has contents with hash {locate(str(complete)).revision}, and the plan was made for {base.revision}; "
        "copy the planned folder there, or give the same command again if the folder was changed on purpose"
    )


def test_an_absent_folder_is_a_machine_fault(complete: Path) -> None:
    base = locate(str(complete))
    shutil.rmtree(complete)
    with pytest.raises(MachineError) as raised:
        find_on_this_node(base)
    assert str(raised.value) == f"base 'complete': {complete} cannot be read on {NODE} (No such file or directory); mount or copy it there"


def test_a_worker_uses_the_planned_commit_even_if_main_has_moved(tmp_path: Path, complete: Path) -> None:
    cached(tmp_path / "hub", HUB_NAME, complete)
    base = locate(HUB_NAME)
    cached(tmp_path / "hub", HUB_NAME, complete, commit=OTHER, main=OTHER)
    assert locate(HUB_NAME).revision == OTHER
    assert find_on_this_node(base) == base


def test_a_worker_downloads_the_planned_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: Path) -> None:
    """The node has another snapshot and a part of this one; files that are not loaded are not downloaded."""
    cached(tmp_path / "hub", HUB_NAME, complete, commit=OTHER, main=OTHER)
    part = cached(tmp_path / "hub", HUB_NAME, complete, main=None)
    (part / "model-00001-of-00002.safetensors").unlink()
    (part / "model-00002-of-00002.safetensors").unlink()
    (complete / "spk_dict.pt").write_text("a pickle")
    base = Base(HUB_NAME, None, COMMIT, None, 3584)
    with serving(monkeypatch, HUB_NAME, complete) as requested:
        found = find_on_this_node(base)
    assert found == base._replace(folder=part)
    assert {file.name for file in part.iterdir()} == set(FILES)
    assert not [path for path in requested if "spk_dict" in path or "refs" in path]
    point_at(monkeypatch, "http://127.0.0.1:9")
    assert find_on_this_node(base) == found, "later calls do not need the hub"


def test_an_unreachable_hub_on_a_worker_is_a_machine_fault(tmp_path: Path, complete: Path) -> None:
    base = Base(HUB_NAME, None, COMMIT, None, 3584)
    with pytest.raises(MachineError) as raised:
        find_on_this_node(base)
    remedy = f"run `hf download {HUB_NAME} --revision {COMMIT}` there"
    assert str(raised.value) == (
        f"base '{HUB_NAME}': commit {COMMIT} is absent in the hub cache {tmp_path / 'hub'} on {NODE} and could not be fetched from the hub "
        f"(LocalEntryNotFoundError); {remedy}"
    )
    part = cached(tmp_path / "hub", HUB_NAME, complete)
    (part / "tokenizer_config.json").unlink()
    with pytest.raises(MachineError, match=rf"is incomplete \(base .* lacks tokenizer_config\.json; .*\) in the hub cache .*{remedy}"):
        find_on_this_node(base)


def test_a_failed_load_is_a_fault_of_the_base_only_if_the_folder_has_the_planned_contents(tmp_path: Path, complete: Path) -> None:
    error = BaseModelError("base 'complete' cannot be loaded")
    base = locate(str(complete))
    confirm(base, error)
    (complete / "config.json").write_text("truncated")
    with pytest.raises(MachineError, match="has contents with hash"):
        confirm(base, error)
    commit = Base(HUB_NAME, cached(tmp_path / "hub", HUB_NAME, complete), COMMIT, None, 3584)
    with pytest.raises(MachineError) as raised:
        confirm(commit, error)
    assert str(raised.value) == f"{error}, on {NODE}: `hf download {HUB_NAME} --revision {COMMIT} --force-download`"


def test_the_error_names_a_file_that_cannot_be_read(complete: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = locate(str(complete))

    def broken_disk(path: Path) -> str:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("omnimer_ray.corpora.files._sha256", broken_disk)
    with pytest.raises(
        MachineError, match=rf"^base 'complete': {complete}/.* cannot be read on {NODE} \(Input/output error\); mount or copy"
    ):
        confirm(base, BaseModelError("whatever"))
    with pytest.raises(
        BaseModelError, match=rf"^base '{complete}': {complete}/.* cannot be read \(Input/output error\); check its permissions$"
    ):
        locate(str(complete))
