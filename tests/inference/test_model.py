"""The model of a run or of an adapter's folder, and each reason why it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from inference.conftest import signature_of

from omnimer_ray.config import ThinkerConfig, changed, resolve
from omnimer_ray.errors import ConfigError, ResultsError
from omnimer_ray.inference.model import load, of_adapter, of_run
from omnimer_ray.model.bases import Base
from omnimer_ray.planning.plan import make_run
from omnimer_ray.records import INFERENCE, read_json, write_json, write_record


def stage_folder(finished: Path, config: ThinkerConfig, position: int = -1) -> Path:
    return finished / "ablations" / "mini-tiny" / "stages" / make_run(config).stages[position].key


def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "results"))


def test_a_run_is_found_by_the_start_of_its_signature(finished: Path, recipe: ThinkerConfig) -> None:
    signature = signature_of(recipe, task="emotion")
    source = of_run(finished, signature[:8])
    assert source.name == f"run {signature}"
    assert source.config == resolve(changed(recipe, {"task": "emotion"}))
    assert source.adapter == stage_folder(finished, source.config)


def test_a_zero_shot_run_has_no_adapter(finished: Path, recipe: ThinkerConfig) -> None:
    assert of_run(finished, signature_of(recipe, training=False)).adapter is None


def test_the_error_names_a_signature_of_no_run_or_of_several(finished: Path) -> None:
    with pytest.raises(
        ResultsError, match=r"has no finished run with the signature 'zz'; see the tables for signatures, or give --results"
    ):
        of_run(finished, "zz")
    with pytest.raises(ResultsError, match=r"has several runs \w+, \w+"):
        of_run(finished, "")


def test_a_run_that_failed_is_refused(finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> None:
    results, signature = copied(finished, tmp_path), signature_of(recipe)
    run = results / "ablations" / "mini-tiny" / "runs" / signature
    write_record(run, {"outcome": "diverged", "reason": "the loss is nan", "stages": []})
    with pytest.raises(ResultsError, match=f"run {signature} ended as diverged: the loss is nan; choose a run that is done"):
        of_run(results, signature)


def test_other_prompts_than_in_training_are_refused(finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> None:
    results = copied(finished, tmp_path)
    run = results / "ablations" / "mini-tiny" / "runs" / signature_of(recipe)
    write_record(run, {"outcome": "done", "reason": None, "stages": [], "prompts": "c0ffee"})
    with pytest.raises(ResultsError, match=r"was trained with prompts of hash c0ffee, and this version's have \w+; use the version"):
        of_run(results, signature_of(recipe))


def test_an_adapters_folder_alone_is_enough(finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in (INFERENCE, "adapter_model.safetensors", "adapter_config.json"):
        shutil.copy(stage_folder(finished, recipe) / name, folder)
    source = of_adapter(folder)
    assert source.config == resolve(recipe)
    assert load(source, None).base.is_tiny


def test_a_folder_of_before_inference_json_is_read_by_its_record(finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stage_folder(finished, recipe), tmp_path / "stage"))
    record = read_json(folder / "record.json")
    (folder / INFERENCE).unlink()
    write_record(folder, {name: value for name, value in record.items() if name != "files"})
    assert of_adapter(folder).config == resolve(recipe)


def test_the_error_names_a_folder_without_an_adapter(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"has neither inference.json nor record.json; give the folder of a finished stage"):
        of_adapter(tmp_path)


def test_a_run_without_its_config_or_its_adapter_is_refused(finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> None:
    results, signature = copied(finished, tmp_path), signature_of(recipe)
    stage = stage_folder(results, resolve(recipe))
    (stage / "adapter_model.safetensors").unlink()
    for source in (lambda: of_run(results, signature), lambda: of_adapter(stage)):
        with pytest.raises(
            ResultsError, match=rf"{stage} has no adapter_model.safetensors, so there is no adapter to load; copy the whole"
        ):
            source()
    run = results / "ablations" / "mini-tiny" / "runs" / signature
    (run / "config.json").unlink()
    write_record(run, {"outcome": "done", "reason": None, "stages": []})
    with pytest.raises(ResultsError, match=rf"run {signature} has no config.json beside its record, .*; copy the whole results folder"):
        of_run(results, signature)


def test_a_stage_of_auxiliary_instructions_alone_is_refused(finished: Path, recipe: ThinkerConfig) -> None:
    config = changed(recipe, {"auxiliaries": {"audio"}, "schedule": "multi_stage"})
    with pytest.raises(
        ResultsError, match=r"was trained on auxiliary instructions alone; give the folder of a stage that was trained on sentiment"
    ):
        of_adapter(stage_folder(finished, config, 0))


def test_a_config_of_another_version_is_refused(finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stage_folder(finished, recipe), tmp_path / "stage"))
    about = read_json(folder / INFERENCE)
    write_json(folder / INFERENCE, {**about, "config": {**about["config"], "sparkle": 1}})
    with pytest.raises(ResultsError, match=r"unknown field 'sparkle'.*; it was written by another version"):
        of_adapter(folder)


def test_another_base_is_refused(finished: Path, recipe: ThinkerConfig, tiny_base: Base) -> None:
    source = of_run(finished, signature_of(recipe))
    other = source._replace(config=changed(source.config, {"base.revision": "f00d"}))
    with pytest.raises(
        ConfigError,
        match=rf"belongs to the base tiny with revision f00d, and tiny has {tiny_base.revision}; give the right one with --base",
    ):
        load(other, None)
    with pytest.raises(ConfigError, match=r"the base 'no/where/at/all' of run \w+ is not here .*; give it with --base"):
        load(source, "no/where/at/all")


def test_a_network_on_features_is_no_model_of_its_own(finished: Path, recipe: ThinkerConfig, tmp_path: Path) -> None:
    results = copied(finished, tmp_path)
    run = results / "ablations" / "mini-tiny" / "runs" / signature_of(recipe)
    write_json(run / "config.json", {"method": "fusion"})
    with pytest.raises(
        ResultsError, match="is of method 'fusion', whose networks answer within a sweep alone; choose a run of the Thinker"
    ):
        of_run(results, signature_of(recipe))
