"""The vision tower's outputs are kept if they fit the profile's limit and the disk; the plan says how large they are."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from making import clip, sweep_of

from omnimer_ray.machine.memory import GIB
from omnimer_ray.planning.kept_outputs import distinct, fit, planned
from omnimer_ray.planning.setup import Sweep

CLIPS = (*(clip(f"a_{index}") for index in range(6)), clip("b_1", split="validation"))
TOKENS = int(GIB / (4 * 128))  # of a width of 128 in fp32: one GiB
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path / "results", CLIPS)


def limited(sweep: Sweep, gib: float) -> Sweep:
    return sweep._replace(profile=sweep.profile.model_copy(update={"features_gib": gib}))


def test_the_plan_gives_clips_size_limit_and_folder(sweep: Sweep, tmp_path: Path) -> None:
    tokens = 10 // 2 * (112 * 112 // 28**2)  # 10 frames of 112 x 112 in 5 s
    config = sweep.recipe
    assert (config.media.min_pixels, config.media.max_pixels, config.media.frames_per_second) == (112 * 112, 112 * 112, 2)
    gib = 7 * tokens * 128 * 4 / GIB
    assert planned(sweep) == (
        f"the frozen tower sees each of 7 clips once; its outputs, {gib:.2g} GiB by arithmetic for clips of 5 s, are kept "
        f"up to the profile's features_gib 32, in {tmp_path / 'results' / 'features'}"
    )


def test_a_range_is_given_where_frames_may_have_several_sizes(sweep: Sweep) -> None:
    media = sweep.recipe.media.model_copy(update={"max_pixels": 4 * sweep.recipe.media.max_pixels})
    runs = {name: run._replace(config=run.config.model_copy(update={"media": media})) for name, run in sweep.plan.runs.items()}
    object.__setattr__(sweep.plan, "runs", runs)
    low = 7 * 80 * 128 * 4 / GIB
    assert f"its outputs, {low:.2g} to {4 * low:.2g} GiB by arithmetic" in planned(sweep)


def test_a_base_of_unknown_width_counts_as_the_largest(sweep: Sweep) -> None:
    unknown = sweep._replace(base=sweep.base._replace(width=None))
    assert fit(limited(unknown, 1.5), [(sweep.recipe, TOKENS)], lambda line: None) is False
    assert fit(limited(sweep, 1.5), [(sweep.recipe, TOKENS)], lambda line: None) is True


def test_nothing_is_planned_or_kept_without_a_limit_or_a_frozen_tower(sweep: Sweep) -> None:
    without = limited(sweep, 0)
    assert planned(without) == ""
    assert fit(without, [(sweep.recipe, TOKENS)], print) is False
    assert fit(sweep, [], print) is False
    lora = sweep.recipe.lora.model_copy(update={"placement": "all"})
    runs = {name: run._replace(config=run.config.model_copy(update={"lora": lora})) for name, run in sweep.plan.runs.items()}
    object.__setattr__(sweep.plan, "runs", runs)
    assert distinct(sweep.plan) == []
    assert planned(sweep) == ""


def test_outputs_that_exceed_the_limit_or_the_disk_are_not_kept(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    one = [(sweep.recipe, TOKENS)]
    assert fit(sweep, one, said.append) is True
    assert fit(limited(sweep, 1.5), [*one, *one], said.append) is False
    assert said == ["vision   outputs are not kept: they take 2 GiB, over the profile's features_gib 1.5; the tower runs at every step"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, GIB // 2))
    assert fit(sweep, one, said.append) is False
    assert said[-1] == f"vision   outputs are not kept: they take 1 GiB, and {tmp_path} has 0.5 free; the tower runs at every step"
    kept = tmp_path / "results" / "features" / "key" / "clip.safetensors"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with kept.open("r+b") as file:
        file.truncate(GIB // 2)  # what is kept already needs no new space
    assert fit(sweep, one, said.append) is True
